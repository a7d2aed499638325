"""The texts of cyclictest: histogram, every value, status lines."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers import cyclictest_histogram, cyclictest_json, cyclictest_lines
from vmjitter.report.importers.base import Imported, Series
from vmjitter.report.importers.cyclictest_status import UNIT_NOTE

GOLDEN = Path(__file__).parents[1] / "golden" / "cyclictest"
VERSIONS = ("2.4", "2.6", "2.10")
STATUS = "T: {0} ({1}) P:95 I:200 C:2999412 Min:      5 Act:   22 Avg:   16 Max:    1312"
OLD = """\
# /dev/cpu_dma_latency set to 0us
policy: fifo: loadavg: 0.88 0.44 0.18 3/99 12388

# Histogram
000000 000000\t000000
000001 000007\t000005
000002 000003\t000000
# Total: 000000010 000000005
# Min Latencies: 00001 00001
# Avg Latencies: 00001 00002
# Max Latencies: 01312 00001
# Histogram Overflows: 00417 00000
# Histogram Overflow at cycle number:
# Thread 0: 04405 08373 # 00415 others
# Thread 1:

"""


def histogram(text: str) -> Imported:
    return cyclictest_histogram.read(text.encode(), "made")


def lines_of(text: str) -> Imported:
    return cyclictest_lines.read(text.encode(), "made")


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def counts(series: Series) -> dict[int, int]:
    histogram = series.histogram
    return dict(zip(histogram.low_ns.tolist(), histogram.count.tolist(), strict=True))


# histogram


def test_an_old_histogram() -> None:
    imported = histogram(OLD)
    first, second = imported.series
    assert counts(first) == {1_000: 7, 2_000: 3}
    assert counts(second) == {1_000: 5}
    found = first.histogram
    assert (found.total, found.overflow, found.overflow_from_ns) == (427, 417, 3_000)
    assert (found.min_ns, found.max_ns) == (1_000, 1_312_000)
    assert first.facts == {
        "thread": "0",
        "avg_us": "1",
        "overflow_cycles": "04405 08373 and 415 more",
    }
    assert first.lacks == {Lack.OVERRUNS, Lack.ORDER, Lack.PERIOD, Lack.OVERFLOW}
    assert second.lacks == {Lack.OVERRUNS, Lack.ORDER, Lack.PERIOD}
    assert imported.notes == (UNIT_NOTE,)
    assert "cpu" not in first.facts


@pytest.mark.parametrize("version", VERSIONS)
def test_the_column_of_all_threads_is_none_of_them(version: str) -> None:
    text = golden(f"{version}-histofall.txt").decode()
    imported = histogram(text)
    assert [series.name for series in imported.series] == ["thread-0", "thread-1"]
    assert [series.histogram.total for series in imported.series] == [500, 500]
    rows = [line.split() for line in text.splitlines() if re.match(r"\d{6} ", line)]
    for place, series in enumerate(imported.series):
        assert series.histogram.count.sum() == sum(int(row[1 + place]) for row in rows)


def test_the_column_of_all_threads_with_one_thread() -> None:
    """The rows have it even then, the lines below do not."""
    text = "# Histogram\n000004 000009\t000009\n# Min Latencies: 00004\n# Max Latencies: 00004\n"
    (series,) = histogram(text + "# Histogram Overflows: 00000\n").series
    assert counts(series) == {4_000: 9}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stopped_program_left_overflows(version: str) -> None:
    name = f"{version}-stopped"
    from_json = cyclictest_json.read(golden(f"{name}.json"), name)
    for one, other in zip(
        cyclictest_histogram.read(golden(f"{name}.txt"), name).series, from_json.series, strict=True
    ):
        assert one.histogram.overflow == other.histogram.overflow > 0
        assert one.histogram.max_ns == other.histogram.max_ns
        assert len(one.facts["overflow_cycles"].split()) == one.histogram.overflow


def test_no_wake_up_and_the_minimum_of_a_million() -> None:
    (series,) = histogram(golden("2.6-early.txt").decode()).series
    assert series.histogram.total == 0
    assert series.histogram.min_ns is None


def test_every_wake_up_beyond_the_buckets() -> None:
    (series,) = histogram(golden("2.4-early.txt").decode()).series
    assert counts(series) == {77_000: 1}


def test_status_lines_tell_period_and_unit() -> None:
    status = STATUS.format(0, 2404) + "\n" + STATUS.format(1, 2405) + "\n"
    imported = histogram(status + OLD)
    assert [series.period_ns for series in imported.series] == [200_000, 200_000]
    assert imported.series[0].facts["priority"] == "95"
    assert imported.notes == ()


def test_the_command_line_of_a_shell_tells_more() -> None:
    command = "+ sudo cyclictest -a 2-3 -t2 -i200 -h 50 -D 1m -N -q"
    imported = histogram(f"{command}\n{OLD}")
    first, second = imported.series
    assert imported.command == "cyclictest -a 2-3 -t2 -i200 -h 50 -D 1m -N -q"
    assert (first.title, second.title) == ("thread 0 on CPU 2", "thread 1 on CPU 3")
    assert first.period_ns == 200_000
    assert counts(first) == {1: 7, 2: 3}  # -N: ns
    assert first.histogram.overflow_from_ns == 50
    assert first.notes[0].startswith("unless it was stopped before the end of its -D: 299573 of")
    assert imported.notes == ()


def test_interrupts_of_smi() -> None:
    text = OLD.replace("# Thread 1:\n", "# Thread 1:\n# SMIs: 00003 00000\n")
    assert histogram(text).series[0].facts["smis"] == "3"


def test_listed_overflows_where_their_number_is_missing() -> None:
    text = OLD.replace("# Histogram Overflows: 00417 00000\n", "")
    imported = histogram(text)
    assert imported.series[0].histogram.overflow == 417
    assert any("its end is missing" in note for note in imported.notes)


def test_a_maximum_beyond_the_buckets_without_any_count() -> None:
    text = OLD[: OLD.index("# Histogram Overflows")]
    first, second = histogram(text).series
    assert (first.histogram.overflow, first.histogram.overflow_from_ns) == (1, 1_312_000)
    assert {first.lacks, second.lacks} == {frozenset(Lack) - {Lack.EXTREMES}}


def test_a_cut_row_loses_wake_ups() -> None:
    imported = histogram(OLD[: OLD.index("000002") + 10])
    first, second = imported.series
    assert counts(first) == {1_000: 7}
    assert first.histogram.max_ns is None
    assert {Lack.OVERFLOW, Lack.EXTREMES} <= first.lacks
    assert "line 7 cut or damaged: their wake-ups are lost" in imported.notes
    assert second.name == "thread-1"


def test_foreign_lines_are_named() -> None:
    text = OLD.replace("000001 ", "hit by something\n000001 ")
    assert any("line 6 not of a histogram" in note for note in histogram(text).notes)


def test_terminal_escapes_are_no_part_of_a_line() -> None:
    text = OLD.replace("policy:", "\x1b[2Apolicy:").replace("\n", "\r\n")
    assert counts(histogram(text).series[0]) == {1_000: 7, 2_000: 3}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nothing", "no cyclictest histogram"),
        ("# Histogram\n", "no cyclictest histogram"),
        (OLD + OLD, "line 20: a second histogram begins"),
        (OLD.replace("000002 ", "2000000 "), "line 7: cyclictest has at most"),
        (OLD.replace("000002 ", "99999999999999999999 "), "line 7: cyclictest has at most"),
        (OLD.replace("000002 ", "000001 "), "two bins for 1"),
        (OLD.replace(" 000007\t", f" {2**53}\t"), "more wake-ups than can be counted"),
        (OLD.replace("Min Latencies: 00001", "Min Latencies: 1 1 1"), "speak of 4 threads"),
        (OLD.replace("# Thread 0", "# Max Latencies: 1 1\n# Thread 0"), 'a second line "# Max'),
    ],
)
def test_damaged_histograms(text: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        histogram(text)
    assert caught.value.message.startswith("made")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["2.4-histogram.txt", "2.10-stopped.txt", "2.4-histofall.txt"])
def test_a_file_cut_anywhere_is_refused_or_says_so(name: str) -> None:
    content = golden(name)
    whole = cyclictest_histogram.read(content, name)
    told = content.index(b"# Histogram Overflow at")  # all that counts stands before it
    for end in range(told):
        try:
            part = cyclictest_histogram.read(content[:end], name)
        except DataError:
            continue
        assert len(part.notes) > len(whole.notes)
        if len(part.series) == len(whole.series):
            for ours, all_of in zip(part.series, whole.series, strict=True):
                assert ours.histogram.count.sum() <= all_of.histogram.count.sum()
                assert Lack.OVERFLOW in ours.lacks or all_of.histogram.overflow == 0
    assert cyclictest_histogram.read(content[:told], name).series[0].histogram.total == (
        whole.series[0].histogram.total
    )


THREADS = st.integers(1, 4).flatmap(
    lambda threads: st.tuples(
        st.dictionaries(
            st.integers(0, 99),
            st.lists(st.integers(0, 10**9), min_size=threads, max_size=threads),
            min_size=1,
            max_size=20,
        ),
        st.lists(st.integers(0, 10**6), min_size=threads, max_size=threads),
    )
)


@given(THREADS, st.booleans(), st.booleans())
def test_what_is_written_is_read(
    made: tuple[dict[int, list[int]], list[int]],
    old: bool,  # noqa: FBT001
    in_all: bool,  # noqa: FBT001
) -> None:
    rows, over = made
    threads = len(over)
    text = "# Histogram\n"
    for bucket in range(100) if old else sorted(rows):
        row = rows.get(bucket, [0] * threads)
        cells = [*row, sum(row)] if in_all else row
        if old or any(row):
            text += f"{bucket:06} " + "\t".join(f"{cell:06}" for cell in cells) + "\n"
    columns = [{key: row[k] for key, row in rows.items() if row[k]} for k in range(threads)]
    high = [150 if over[k] else max(columns[k], default=0) for k in range(threads)]
    low = [min([*columns[k], 150 if over[k] else 1_000_000]) for k in range(threads)]
    more = [max(high)] if in_all and threads > 1 else []
    text += "# Min Latencies: " + " ".join(map(str, low)) + "\n"
    text += "# Max Latencies: " + " ".join(map(str, [*high, *more])) + "\n"
    text += "# Histogram Overflows: " + " ".join(map(str, over)) + "\n"
    imported = histogram(text)
    assert len(imported.series) == threads
    for k, series in enumerate(imported.series):
        assert series.histogram.total == sum(columns[k].values()) + over[k]
        if columns[k]:
            assert counts(series) == {key * 1000: count for key, count in columns[k].items()}
            assert series.histogram.overflow == over[k]
            assert series.histogram.max_ns == high[k] * 1000


# every value


@pytest.mark.parametrize("version", VERSIONS)
def test_every_value_in_its_order(version: str) -> None:
    content = golden(f"{version}-verbose.txt")
    found = re.findall(rb"^ +(\d+): +\d+: +(\d+)$", content, re.MULTILINE)
    imported = cyclictest_lines.read(content, "x")
    for series in imported.series:
        wanted = [
            int(value) * 1000
            for thread, value in found
            if b"%s" % thread == series.facts["thread"].encode()
        ]
        assert series.latency_ns is not None
        assert series.latency_ns.tolist() == wanted
        assert series.histogram.total == len(wanted)
        assert series.histogram.max_ns == max(wanted)
        assert series.lacks == {Lack.OVERRUNS}
    # "Thread 0 Interval: 1500", "Thread 1 Interval: 2000": each names the next thread's
    assert [series.period_ns for series in imported.series] == [1_000_000, 1_500_000]


def test_the_largest_of_some_wake_ups() -> None:
    imported = cyclictest_lines.read(golden("2.10-reduced.txt"), "x")
    first = imported.series[0]
    assert first.period_ns == 5_000_000
    assert first.histogram.total == 16
    assert "the largest of 5 wake-ups" in first.notes[0]


def verbose(values: dict[int, int]) -> str:
    return "".join(f"{0:8}:{cycle:8}:{value:8}\n" for cycle, value in values.items())


def test_a_lost_line_loses_the_order() -> None:
    (series,) = lines_of(verbose({0: 7, 1: 8, 2: 9, 5: 7, 6: 8, 7: 8})).series
    assert series.latency_ns is None
    assert {Lack.ORDER, Lack.OVERFLOW, Lack.PERIOD} <= series.lacks
    assert series.notes == ("at least 2 values are missing: lines were lost",)


def test_a_value_of_zero_has_an_older_cycle_beside_it() -> None:
    (series,) = lines_of(verbose({0: 7, 1: 8}) + verbose({1: 0}) + verbose({3: 4})).series
    assert series.latency_ns is not None
    assert series.latency_ns.tolist() == [7_000, 8_000, 0, 4_000]


def test_a_beginning_that_is_missing() -> None:
    (series,) = lines_of(verbose({100: 7, 101: 8})).series
    assert series.notes == ("it begins at cycle 100: those before are not in the file",)


def test_the_number_of_interrupts_may_be_glued_on() -> None:
    (series,) = lines_of(
        "       0:       0:       7       2\n       0:       1:       9       0\n"
    ).series
    assert series.latency_ns is not None
    assert series.latency_ns.tolist() == [7_000, 9_000]


def test_status_lines_after_the_values() -> None:
    status = STATUS.format(0, 1).replace("C:2999412", "C:      3").replace("1312", "  12")
    (series,) = lines_of(verbose({0: 7, 1: 8, 2: 12}) + status + "\n").series
    assert series.latency_ns is not None
    assert series.period_ns == 200_000
    late = STATUS.format(0, 1).replace("C:2999412", "C:      4")
    (series,) = lines_of(verbose({0: 7, 1: 8, 2: 12}) + late + "\n").series
    assert series.latency_ns is None  # the latest of all has no line
    assert series.histogram.max_ns == 1_312_000


def test_a_cut_value() -> None:
    imported = lines_of(verbose({0: 7, 1: 8}) + "       0:       2:      1")
    assert imported.series[0].histogram.total == 2
    assert "line 3 cut: not used" in imported.notes
    whole = lines_of(verbose({0: 7, 1: 8}) + "       0:       2:      12")
    assert whole.series[0].histogram.total == 3


def test_values_of_two_measurements() -> None:
    with pytest.raises(DataError, match="two measurements"):
        lines_of(verbose({0: 7, 1: 8}) * 2)


# status lines


@pytest.mark.parametrize("version", VERSIONS)
def test_the_last_of_many_looks(version: str) -> None:
    imported = cyclictest_lines.read(golden(f"{version}-running.txt"), "x")
    first = imported.series[0]
    assert first.histogram.total == 60
    assert first.histogram.overflow == 59
    assert first.histogram.overflow_from_ns == first.histogram.min_ns
    assert first.lacks == {Lack.OVERRUNS, Lack.ORDER, Lack.OVERFLOW}
    assert [series.period_ns for series in imported.series] == [1_000_000, 1_500_000]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_width_of_the_fields_tells_the_unit(version: str) -> None:
    from_json = cyclictest_json.read(golden(f"{version}-nano.json"), "x")
    from_lines = cyclictest_lines.read(golden(f"{version}-nano.txt"), "x")
    for one, other in zip(from_lines.series, from_json.series, strict=True):
        assert one.histogram.min_ns == other.histogram.min_ns
        assert one.histogram.max_ns == other.histogram.max_ns
        assert one.period_ns == other.period_ns


@pytest.mark.parametrize(
    ("act", "average", "unit_ns"),
    [
        ("   22", "   16", 1000),
        ("12345", "   16", 1000),
        ("123456", "234567", 1000),
        ("      22", "      16", 1),
        ("12345678", " 2345678", 1),
    ],
)
def test_units(act: str, average: str, unit_ns: int) -> None:
    text = (
        STATUS.format(0, 1)
        .replace("Act:   22", f"Act:{act}")
        .replace("Avg:   16", f"Avg:{average}")
    )
    assert lines_of(text + "\n").series[0].histogram.max_ns == 1312 * unit_ns


@pytest.mark.parametrize("fields", ["Act: 22 Avg: 16", "Act:12345678 Avg:12345678"])
def test_a_unit_that_cannot_be_told(fields: str) -> None:
    text = STATUS.format(0, 1).replace("Act:   22 Avg:   16", fields)
    with pytest.raises(DataError, match="line 1: whether it is in µs or in ns") as caught:
        lines_of(text + "\n")
    assert "blanks" in caught.value.hint
    assert lines_of(f"$ cyclictest -q -i 200\n{text}\n").series[0].histogram.max_ns == 1_312_000


def test_without_a_blank_and_with_interrupts() -> None:
    text = STATUS.format(" 0", " 2404").replace("T: ", "T:") + " SMI:       4\n"
    (series,) = lines_of(text).series
    assert (series.facts["smis"], series.facts["cycles"]) == ("4", "2999412")


def test_a_cut_status_line_is_not_used() -> None:
    text = STATUS.format(0, 1) + "\n"
    for end in range(len(text) - 12, len(text) - 1):
        cut = lines_of(text + text[:end])
        assert cut.series[0].histogram.max_ns == 1_312_000
        assert any("line 2 cut" in note for note in cut.notes)
    assert lines_of(text[:-1]).notes == ()  # only the line end is missing


def test_break_and_spikes() -> None:
    broken = cyclictest_lines.read(golden("2.10-break.txt"), "x")
    assert "stopped at a latency of 251, as -b demands" in broken.notes[0]
    spiky = cyclictest_lines.read(golden("2.10-spike.txt"), "x")
    assert spiky.series[0].facts["spikes_us"] == "696 at 1325163262"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            STATUS.format(0, 1) + "\n" + STATUS.format(0, 1).replace("C:2999412", "C:    412"),
            "begins anew",
        ),
        (
            STATUS.format(0, 1)
            + "\n"
            + STATUS.format(1, 2).replace("Act:   22", "Act:      22")
            + "\n",
            "some in ns",
        ),
        ("# nothing\n", "no complete line of cyclictest"),
        (STATUS.format(0, 1)[:30], "no complete line of cyclictest"),
        ("       0:       0:999999999999999\n" * 2, None),
    ],
)
def test_damaged_lines(text: str, why: str | None) -> None:
    if why is None:  # as long as a number may be, and no longer
        assert lines_of(text).series[0].histogram.max_ns == 999_999_999_999_999_000
        return
    with pytest.raises(DataError, match=why) as caught:
        lines_of(text)
    assert caught.value.message.startswith("made")


def test_a_histogram_after_the_lines_is_read_as_one() -> None:
    text = STATUS.format(0, 1) + "\n" + STATUS.format(1, 2) + "\n" + OLD
    imported = lines_of(text)
    assert counts(imported.series[0]) == {1_000: 7, 2_000: 3}
    both = lines_of(verbose({0: 7, 1: 8}) + OLD)
    assert both.series[0].latency_ns is not None
    assert any("--format cyclictest-histogram" in note for note in both.notes)
    assert any("--format cyclictest-lines" in n for n in histogram(verbose({0: 7}) + OLD).notes)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60))
def test_values_that_are_written_are_read(values: list[int]) -> None:
    cycle, text = 0, ""
    for place, value in enumerate(values):
        cycle = place if value else cycle  # as `print_stat` keeps it
        text += f"{0:8}:{cycle:8}:{value:8}\n"
    (series,) = lines_of(text).series
    assert series.latency_ns is not None
    assert np.array_equal(series.latency_ns, np.array(values) * 1000)


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.txt")))
def test_each_recording_is_known_by_one_importer(name: str) -> None:
    head = golden(name)
    known = [cyclictest_histogram.matches(head, name), cyclictest_lines.matches(head, name)]
    has_histogram = b"# Histogram" in head
    assert known == [has_histogram, not has_histogram]
    assert not cyclictest_json.matches(head, name)
