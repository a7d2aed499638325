"""rtla timerlat hist: every wake-up that rtla counted is there, whatever was switched off."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Series
from vmjitter.report.importers.rtla_hist import IMPORTER

GOLDEN = Path(__file__).parents[1] / "golden/rtla"
US = 1000
NOT_TOLD = {Lack.ORDER, Lack.OVERRUNS, Lack.PERIOD}

SMALL = """# RTLA timerlat histogram
# Time unit is microseconds (us)
# Duration:   0 00:00:02
Index   IRQ-000   Thr-000
3            10         -
4             5        12
9             1         2
over:         2         4
count:       18        18
min:          3         4
avg:          3         5
max:         30      5112
"""


def golden(name: str) -> Imported:
    content = (GOLDEN / name).read_bytes()
    return IMPORTER.read(content, name)


def small(text: str = SMALL) -> Imported:
    return IMPORTER.read(text.encode(), "small.txt")


def named(imported: Imported, name: str) -> Series:
    return next(series for series in imported.series if series.name == name)


@pytest.mark.parametrize(
    "name",
    [
        "hist-6.1.txt", "hist-6.1-nano.txt", "hist-6.12-user.txt", "hist-7.2-user.txt",
        "hist-7.2-shell.txt", "hist-7.2-nano.txt",
    ],
)  # fmt: skip
def test_counts_are_those_of_the_summary(name: str) -> None:
    rows = [line.split() for line in (GOLDEN / name).read_text().splitlines()]
    head = next(row for row in rows if row[:1] == ["Index"])
    first = {row[0]: row[1:] for row in reversed(rows) if row and row[0].endswith(":")}
    unit_ns = 1 if "(ns)" in (GOLDEN / name).read_text() else US
    found = golden(name).series
    assert len(found) == len(head) - 1
    for place, series in enumerate(found):
        histogram = series.histogram
        assert histogram.total == int(first["count:"][place])
        assert histogram.min_ns == int(first["min:"][place]) * unit_ns
        assert histogram.max_ns == int(first["max:"][place]) * unit_ns
        assert series.lacks == NOT_TOLD


def test_columns_are_cpus_and_contexts() -> None:
    found = golden("hist-7.2-user.txt").series
    assert [series.name for series in found] == [
        f"cpu-{cpu}-{context}" for cpu in (0, 1) for context in ("irq", "thread", "user")
    ]
    assert found[2].title == "CPU 0, return to user space"
    assert found[2].facts == {
        "cpu": "0", "context": "return to user space", "count": "3978", "avg_us": "40",
    }  # fmt: skip


def test_overflow_starts_after_the_last_bucket() -> None:
    histogram = named(golden("hist-6.12-user.txt"), "cpu-0-thread").histogram
    assert (histogram.overflow, histogram.overflow_from_ns) == (482, 60 * US)
    assert histogram.resolution_ns == 2 * US
    assert histogram.late(3 * 1000 * US) == (1, 482)  # the maximum surely, the overflow perhaps


def test_nothing_woke_up_before_it_stopped() -> None:
    imported = golden("hist-6.1-sentinel.txt")
    irq, thread = imported.series
    assert (irq.histogram.total, irq.histogram.max_ns) == (1, 1182 * US)
    assert (thread.histogram.total, thread.histogram.min_ns, thread.histogram.max_ns) == (
        0, None, None,
    )  # fmt: skip
    assert any("stopped" in note for note in imported.notes)


def test_without_summary_the_maximum_is_lacking() -> None:
    series = named(golden("hist-6.12-no-summary.txt"), "cpu-1-user")
    assert (series.histogram.total, series.histogram.overflow) == (11 + 1974, 1974)
    assert series.histogram.max_ns is None
    assert series.lacks == NOT_TOLD | {Lack.EXTREMES}


@pytest.mark.parametrize("name", ["hist-7.2-bare.txt", "hist-7.2-no-header.txt"])
def test_without_header_neither_cpu_nor_unit_is_told(name: str) -> None:
    imported = golden(name)
    assert [series.name for series in imported.series] == [
        "column-0-irq", "column-1-thread", "column-2-irq", "column-3-thread",
    ]  # fmt: skip
    assert any("cannot be nanoseconds" in note for note in imported.notes)
    assert any("header was left out" in note for note in imported.notes)
    totals = [series.histogram.total for series in imported.series]
    assert totals[0] == totals[1] > 1900


def test_rows_without_index_are_buckets_then_summary() -> None:
    series = named(golden("hist-7.2-no-index.txt"), "cpu-0-irq")
    histogram = series.histogram
    assert histogram.low_ns.tolist() == [place * US for place in range(10, 20)]
    assert histogram.count.tolist()[:2] == [26, 195]
    assert (histogram.overflow, histogram.max_ns) == (128, 1563 * US)


def test_analysis_becomes_facts() -> None:
    imported = golden("hist-7.2-shell.txt")
    assert imported.facts["CPU 0: IRQ handler delay"] == "3540.27 us (95.80 %)"
    assert imported.facts["CPU 0: Blocking thread: rtla:131"] == "43.81 us"
    assert any("line 1 not of rtla" in note for note in imported.notes)


def test_dashes_are_no_wake_ups() -> None:
    irq, thread = small().series
    assert irq.histogram.count.tolist() == [10, 5, 1]
    assert thread.histogram.low_ns.tolist() == [4 * US, 9 * US]


def test_command_gives_period_and_bucket() -> None:
    text = "$ sudo rtla timerlat hist -p 500 -b1 -E=10\n" + SMALL
    imported = small(text)
    assert imported.command == "rtla timerlat hist -p 500 -b1 -E=10"
    assert {series.period_ns for series in imported.series} == {500 * US}
    assert all(Lack.PERIOD not in series.lacks for series in imported.series)
    assert any("4000 periods of 500.00 µs" in note for note in imported.notes)


def test_foreign_lines_are_left_out_and_said() -> None:
    imported = small(SMALL.replace("9      ", "hello world\n9      "))
    assert any("line 7 not of rtla" in note for note in imported.notes)
    assert imported.series[0].histogram.total == 18


def test_lost_rows_may_be_as_late_as_the_latest() -> None:
    series = small(SMALL.replace("4             5        12\n", "")).series[0]
    assert series.histogram.total == 18
    assert (series.histogram.overflow, series.histogram.overflow_from_ns) == (2 + 5, 0)
    assert any("5 of 18 wake-ups are in no row" in note for note in series.notes)


@pytest.mark.parametrize("end", ["over:", "count:", "min:", "max:"])
def test_cut_after_a_row(end: str) -> None:
    series = small(SMALL[: SMALL.index(end)]).series[1]
    assert series.histogram.total == (14 if end == "over:" else 18)
    assert (Lack.OVERFLOW in series.lacks) == (end == "over:")
    assert Lack.EXTREMES in series.lacks


def test_a_number_at_the_end_of_the_file_is_not_believed() -> None:
    imported = small(SMALL.removesuffix("12\n"))  # 51 instead of 5112
    assert imported.series[0].histogram.max_ns == 30 * US
    assert imported.series[1].histogram.max_ns is None
    assert Lack.EXTREMES in imported.series[1].lacks
    assert any("ends within line 12" in note for note in imported.notes)


def test_a_wake_up_that_only_the_analysis_has_is_added() -> None:
    analysis = """rtla timerlat hit stop tracing
## CPU 0 hit stop tracing, analyzing it ##
  IRQ latency:                                            7000.26 us
  Thread latency:                                         7077.25 us (100%)
"""
    irq, thread = small(SMALL + analysis).series
    assert (irq.histogram.total, irq.histogram.max_ns) == (19, 7000 * US)
    assert (thread.histogram.overflow, thread.histogram.max_ns) == (5, 7077 * US)
    assert any("7.08 ms" in note for note in thread.notes)


def test_a_minimum_above_the_maximum_is_not_used() -> None:
    series = small(SMALL.replace("5112", "   2")).series[1]
    assert (series.histogram.min_ns, series.histogram.max_ns) == (4 * US, None)
    assert Lack.EXTREMES in series.lacks
    assert any("minimum 4 is above its maximum 2" in note for note in series.notes)


def test_a_second_table_is_left_out() -> None:
    imported = small(SMALL + SMALL)
    assert [series.histogram.total for series in imported.series] == [18, 18]
    assert any("another table starts at line 13" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no table"),
        ("hello\n", "no table"),
        (SMALL.replace("timerlat", "osnoise"), "osnoise"),
        (
            SMALL.replace("# Time unit is microseconds (us)\n", "").replace("min:  ", "mix:  "),
            "unit",
        ),
        ("# Time unit is microseconds (us)\nover:\n", "no columns"),
        ("1 2\n3 4\n5 6\n7 8\n9 10\n11 12\n", "neither index nor names"),
    ],
)
def test_refuses_with_reason_and_remedy(text: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        small(text)
    assert caught.value.message.startswith("small.txt")
    assert caught.value.hint


def test_sniffs() -> None:
    known = {
        path.name: IMPORTER.matches(path.read_bytes(), path.name) for path in GOLDEN.glob("*.txt")
    }
    # Numbers alone could be of anything: that file needs --format.
    assert {name for name, found in known.items() if found} == {
        name for name in known if name.startswith("hist") and name != "hist-7.2-bare.txt"
    }
