"""rtla timerlat top: count and extremes of each CPU's last row."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Series
from vmjitter.report.importers.rtla_top import IMPORTER

GOLDEN = Path(__file__).parents[1] / "golden/rtla"
US = 1000

HEAD = """                                     Timer Latency
  0 00:00:12   |          IRQ Timer Latency (us)        |         Thread Timer Latency (us)
CPU COUNT      |      cur       min       avg       max |      cur       min       avg       max
"""
ROW = (
    "  4 #12320     |       28         1         3        48 "
    "|       41         3        11       141\n"
)
LATER = ROW.replace("#12320", "#13320").replace("141", "990")


def golden(name: str) -> Imported:
    return IMPORTER.read((GOLDEN / name).read_bytes(), name)


def read(text: str) -> Imported:
    return IMPORTER.read(text.encode(), "top.txt")


def extremes(series: Series) -> tuple[int, int | None, int | None]:
    histogram = series.histogram
    return (histogram.total, histogram.min_ns, histogram.max_ns)


def test_coloured_output() -> None:
    imported = golden("top-6.1.txt")
    assert [series.name for series in imported.series] == [
        "cpu-0-irq", "cpu-0-thread", "cpu-1-irq", "cpu-1-thread",
    ]  # fmt: skip
    assert extremes(imported.series[3]) == (3471, 13 * US, 12941 * US)
    assert imported.series[3].lacks == {Lack.ORDER, Lack.OVERRUNS, Lack.PERIOD}


def test_between_the_extremes_nothing_is_claimed() -> None:
    histogram = golden("top-6.1.txt").series[3].histogram
    assert histogram.overflow == 3470
    assert histogram.late(1000 * US) == (1, 3470)
    assert histogram.late(12942 * US) == (0, 0)


def test_of_several_tables_the_last_counts() -> None:
    imported = golden("top-6.12-live.txt")
    assert extremes(imported.series[2]) == (2994, 11 * US, 2072 * US)
    assert not any("not of rtla" in note for note in imported.notes)


def test_nanoseconds_and_user_space() -> None:
    imported = golden("top-6.12-analysis.txt")
    assert extremes(imported.series[5]) == (1012, 27802, 825841)
    assert imported.facts["CPU 0: IRQ latency"] == "2115.25 us (100%)"
    assert not any("not of rtla" in note for note in imported.notes)


def test_missing_line_end_and_threads_that_never_woke_up() -> None:
    imported = golden("top-7.2-newline.txt")
    assert [extremes(series) for series in imported.series] == [
        (1, 7626314, 7626314), (0, None, None), (0, None, None),
    ]  # fmt: skip
    assert any("stopped" in note for note in imported.notes)
    assert not any("not of rtla" in note for note in imported.notes)


def test_the_wake_up_that_stopped_it_is_the_maximum() -> None:
    series = golden("top-7.2-shell.txt").series[3]
    assert series.name == "cpu-1-thread"
    assert extremes(series) == (1009, 19 * US, 1916 * US)  # its table says 797
    assert any("1.92 ms" in note for note in series.notes)


def test_a_cut_row_gives_way_to_the_one_before() -> None:
    irq, thread = read(HEAD + ROW + LATER.rstrip()).series
    assert extremes(irq) == (12320, 1 * US, 48 * US)
    assert extremes(thread) == (12320, 3 * US, 141 * US)


def test_of_a_single_cut_row_the_whole_group_stays() -> None:
    imported = read(HEAD + ROW.rstrip()[:-1])
    assert [series.name for series in imported.series] == ["cpu-4-irq"]
    assert any("line 4 not whole" in note for note in imported.notes)


def test_counts_that_shrink_are_another_measurement() -> None:
    imported = read(HEAD + LATER + HEAD + ROW)
    assert extremes(imported.series[1]) == (13320, 3 * US, 990 * US)
    assert any("another measurement starts at line 8" in note for note in imported.notes)


def test_command_gives_the_period() -> None:
    imported = read("# rtla timerlat top -p 100 -q\n" + HEAD + ROW)
    assert imported.series[0].period_ns == 100 * US
    assert Lack.PERIOD not in imported.series[0].lacks


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no table"),
        (HEAD, "no row"),
        (HEAD + ROW.replace("28 ", "x8 ").replace("41 ", "y1 "), "no row"),
        (HEAD + ROW.replace(" 48 ", "  0 "), "line 4: CPU 4: its minimum 1 is above"),
    ],
)
def test_refuses_with_reason_and_remedy(text: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read(text)
    assert caught.value.hint


def test_sniffs() -> None:
    for path in GOLDEN.glob("*.txt"):
        assert IMPORTER.matches(path.read_bytes(), path.name) == path.name.startswith("top")
