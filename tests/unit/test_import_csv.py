"""CSV: the unit has to be known, every row is a wake-up, and our own export can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Series
from vmjitter.report.importers.csv_plain import IMPORTER
from vmjitter.stats.histogram import MISSED

US = 1000


def read(text: str) -> Imported:
    return IMPORTER.read(text.encode(), "latencies.csv")


def values(series: Series) -> list[int]:
    assert series.latency_ns is not None
    return [int(value) for value in series.latency_ns]


@pytest.mark.parametrize(
    ("name", "unit_ns"),
    [
        ("latency_ns", 1), ("latency_us", US), ("Latency (µs)", US), ("jitter[ms]", 1_000_000),
        ("wakeup delay s", 1_000_000_000), ("lat_us", US), ("us", US), ('"latency_ms"', 1_000_000),
        ("\ufefflatency_us", US),
    ],
)  # fmt: skip
def test_unit_is_in_the_name(name: str, unit_ns: int) -> None:
    imported = read(f"{name}\n3\n-1\n12\n")
    (series,) = imported.series
    assert values(series) == [3 * unit_ns, -unit_ns, 12 * unit_ns]
    assert (series.histogram.negative, series.histogram.max_ns) == (1, 12 * unit_ns)
    assert series.lacks == {Lack.OVERRUNS, Lack.PERIOD}


def test_steps_of_the_last_digit_are_the_resolution() -> None:
    imported = read("latency_us\n1\n2.5\n3.25\n")
    assert imported.series[0].histogram.resolution_ns == 10
    assert imported.series[0].histogram.late(3250).possibly == 1
    assert any("up to 9 ns more" in note for note in imported.notes)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(-(1 << 50), 1 << 50), min_size=1, max_size=50))
def test_nanoseconds_are_exact(latency: list[int]) -> None:
    (series,) = read("latency_ns\n" + "".join(f"{value}\n" for value in latency)).series
    assert values(series) == latency
    assert series.histogram.total == len(latency)
    assert series.histogram.resolution_ns == 1


def test_columns_of_jittersamples_after_naming_them() -> None:
    imported = read("cpu;time_s;latency_us\n0;1.5;20\n1;1.5;3\n0;1.501;4\n")
    assert [series.title for series in imported.series] == ["cpu 0", "cpu 1"]
    assert [series.name for series in imported.series] == ["series-0", "series-1"]
    assert values(imported.series[0]) == [20 * US, 4 * US]


def test_our_own_export() -> None:
    imported = read(
        "# vmjitter, run paper\n"
        "scenario,round,index,planned_ns,latency_ns,missed\n"
        "kernel load,0,0,5000,100,false\n"
        "kernel load,0,1,6000,,true\n"
        "kernel load,0,2,7000,300,false\n"
    )
    (series,) = imported.series
    assert values(series) == [100, MISSED, 300]
    assert series.histogram.total == 2
    assert (series.period_ns, series.lacks) == (1000, frozenset())
    assert series.title == "kernel load, round 0"


def test_uneven_planned_times_are_no_period() -> None:
    (series,) = read("planned_us,latency_us\n0,1\n1000,1\n2500,1\n").series
    assert series.period_ns == 0
    assert Lack.PERIOD in series.lacks
    assert series.notes


def test_a_last_line_without_end_may_be_cut() -> None:
    imported = read("latency_us\n3\n12")
    assert values(imported.series[0]) == [3 * US]
    assert any("line 3 has no end" in note for note in imported.notes)


def test_other_columns_are_named() -> None:
    imported = read("latency_us,load,mood\n3,0.5,fine\n")
    assert any("'load', 'mood'" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no row"),
        ("# only a comment\n", "holds no row"),
        ("latency_us\n", "no row"),
        ("latency\n1\n", "line 1: the unit of 'latency' is not known"),
        ("1\n2\n", "line 1: there is no line with the names"),
        ("0;21473.175;20\n", "line 1: there is no line with the names"),
        ("a,b\n1,2\n", "line 1: no column"),
        ("latency_us,latency_ms\n1,2\n", "line 1: several columns"),
        ("latency_us\nnan\n", "line 2: 'nan' is no latency"),
        ("latency_us\n1e3\n", "line 2: '1e3' is no latency"),
        ("latency_us\n9999999999999999999\n", "line 2: '9999999999999999999' is no latency"),
        ("i,latency_us\n1,\n", "line 2: there is no latency in it"),
        ("i,latency_us\n1,2\n1,3\n", "line 3: index or time does not grow"),
        ("i,latency_us\nx,2\n", "line 2: 'x' is no index or time"),
        ("latency_us,missed\n1,maybe\n", "line 2: the column `missed` holds 'maybe'"),
        ("latency_us,x\n1\n", "line 2: 1 columns where"),
        ('latency_us\n"1\n2\n', "no row of CSV"),
        ("latency_us\n" + "1" * 300_000 + "\n", "line 2: it is longer"),
        ("latency_us" + "," * 2000 + "\n1\n", "line 1: more than 1000 columns"),
        ("thread,latency_us\n" + "".join(f"{n},1\n" for n in range(5000)), "more than 4096 series"),
    ],
)
def test_refuses_with_place_reason_and_remedy(text: str, why: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text)
    assert why in caught.value.message
    assert caught.value.message.startswith("latencies.csv")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("head", "name", "found"),
    [
        (b"latency_us\n1\n", "x.txt", True),
        (b"# c\n\ntime,latency (ms)\n", "x", True),
        (b"whatever\n", "x.CSV", True),
        (b"latency\n1\n", "x.txt", False),
        (b'{"latency_us": 3}\n', "x.json", False),
        (b"", "x", False),
    ],
)
def test_sniffs(head: bytes, name: str, found: bool) -> None:  # noqa: FBT001 - a table
    assert IMPORTER.matches(head, name) == found
