"""Xenomai's latency and EVL's latmus: extremes, counted overruns, and a histogram by size."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Series
from vmjitter.report.importers.xenomai_latency import IMPORTER

GOLDEN = Path(__file__).parents[1] / "golden/xenomai"
HISTOGRAM = (GOLDEN / "latency-histogram.txt").read_text()


def golden(name: str) -> Imported:
    return IMPORTER.read((GOLDEN / name).read_bytes(), name)


def read(text: str) -> Imported:
    return IMPORTER.read(text.encode(), "latency.txt")


def only(imported: Imported) -> Series:
    (series,) = imported.series
    return series


def test_histogram_and_its_last_bucket() -> None:
    series = only(golden("latency-histogram.txt"))
    histogram = series.histogram
    assert histogram.low_ns.tolist() == [1000, 2000, 21000]
    assert histogram.count.tolist() == [500, 1490, 9]
    # 374 us are beyond the 300 buckets, so the last one is where the overflow begins
    assert (histogram.overflow, histogram.overflow_from_ns) == (1, 299_000)
    assert (histogram.min_ns, histogram.max_ns) == (1175, 374_075)


def test_overruns_are_counted() -> None:
    series = only(golden("latency-histogram.txt"))
    assert series.overruns == 40
    assert series.period_ns == 1_000_000
    assert series.lacks == {Lack.ORDER}


def test_without_histogram_only_extremes_are_known() -> None:
    text = "".join(line for line in HISTOGRAM.splitlines(keepends=True) if "HS" not in line[:2])
    histogram = only(read(text)).histogram
    assert (histogram.total, histogram.overflow, histogram.overflow_from_ns) == (2000, 1999, 1175)


def test_stopped_program() -> None:
    imported = golden("latency-stopped.txt")
    series = only(imported)
    assert series.histogram.total == 3 * 10_000  # three lines RTD at 100 us
    assert (series.histogram.min_ns, series.histogram.max_ns) == (-412, 230_330)
    assert (series.overruns, series.facts["mode_switches"]) == (2, "1")
    assert any("no line RTS" in note for note in imported.notes)


def test_quiet_program_is_counted_by_its_time() -> None:
    series = only(golden("latency-quiet.txt"))
    assert series.histogram.total == 60_000
    assert any("follows from period and duration" in note for note in series.notes)


def test_latmus() -> None:
    imported = golden("latmus.txt")
    assert only(imported).histogram.total == 2000
    assert only(imported).facts["mode"] == "user"
    assert not any("not of this program" in note for note in imported.notes)


def test_early_wake_ups_are_not_taken_for_late_ones() -> None:
    histogram = only(read(HISTOGRAM.replace("  1.175", " -2.175"))).histogram
    # -2.175 us stands in the bucket from 2 to 3 us: below 3 us nothing can be told apart
    assert histogram.low_ns.tolist() == [-2175, 21000]
    assert histogram.high_ns.tolist() == [2999, 21999]
    assert histogram.count.tolist() == [1990, 9]


def test_buckets_of_another_width_are_not_used() -> None:
    series = only(read(HISTOGRAM.replace("avg|   1 -  2", "avg|   0 -  1")))
    assert series.histogram.overflow == 1999
    assert any("not 1000 ns wide" in note for note in series.notes)


def test_cut_and_foreign_lines() -> None:
    text = HISTOGRAM.replace("warming up...\n", "hello\n").rstrip()[:-30]
    imported = read(text)
    assert only(imported).histogram.total == 2000
    assert any("line 4 not of this program" in note for note in imported.notes)
    assert any("line 24 not whole" in note for note in imported.notes)


def test_a_second_measurement_is_left_out() -> None:
    other = HISTOGRAM.replace("374.075", "999.075")
    imported = read(HISTOGRAM + other)
    assert only(imported).histogram.max_ns == 374_075
    assert any("another measurement starts at line 31" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no line RTD or RTS"),
        ("RTS|      1.175|      2.931|  x\n", "line 1: no line RTD or RTS"),
        ("RTS|  9|  2|  3|  40|  0|  00:00:02/00:00:02\n", "no line RTD or RTS"),
        ("RTS|  1|  2|  3|  40|  0|  00:00:02/00:00:02\n", "how many wake-ups"),
    ],
)
def test_refuses_with_reason_and_remedy(text: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read(text)
    assert caught.value.message.startswith("latency.txt")
    assert caught.value.hint


def test_sniffs() -> None:
    for path in GOLDEN.glob("*.txt"):
        assert IMPORTER.matches(path.read_bytes(), "x")
    assert not IMPORTER.matches((GOLDEN / "README.md").read_bytes(), "x")
