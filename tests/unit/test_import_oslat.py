"""oslat, text and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers import cyclictest_json, oslat
from vmjitter.report.importers.base import Imported, Series

GOLDEN = Path(__file__).parents[1] / "golden" / "oslat"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))
TEXT = """\
oslat V 2.40
Total runtime: \t\t1 seconds
CPU list: \t\t3,5

Test completed.

        Core:\t 3 5
Counter Freq:\t 2597 2598 (Mhz)
    001 (us):\t 900 700
    002 (us):\t 0 30
    ...
    004 (us):\t 8 0 (including overflows)
     Minimum:\t 1 1 (us)
     Average:\t 1.000 1.041 (us)
     Maximum:\t 201 2 (us)
     Max-Min:\t 200 1 (us)
    Duration:\t 0.999 1.000 (sec)

"""


def golden(name: str) -> Imported:
    return oslat.read((GOLDEN / name).read_bytes(), name)


def text(content: str) -> Imported:
    return oslat.read(content.encode(), "made")


def made(thread: dict[str, object], command: str = "oslat -D 1") -> bytes:
    data = {
        "file_version": 1,
        "cmdline:": command,
        "thread": {"0": {"cpu": 1, "freq": 9, **thread}},
    }
    return json.dumps(data).encode()


def one(thread: dict[str, object], command: str = "oslat -D 1") -> Series:
    (series,) = oslat.read(made(thread, command), "made").series
    return series


def bins(series: Series) -> list[tuple[int, int, int]]:
    found = series.histogram
    columns = (found.low_ns.tolist(), found.high_ns.tolist(), found.count.tolist())
    return list(zip(*columns, strict=True))


def test_there_are_recordings() -> None:
    assert {"2.4-plain", "2.6-nano", "2.10-bias"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_text_and_json_of_a_run_agree(name: str) -> None:
    from_json, from_text = golden(f"{name}.json"), golden(f"{name}.txt")
    for one_of, other in zip(from_json.series, from_text.series, strict=True):
        ours, theirs = one_of.histogram, other.histogram
        assert bins(one_of) == bins(other)
        assert (ours.overflow, ours.overflow_from_ns) == (theirs.overflow, theirs.overflow_from_ns)
        assert (ours.min_ns, ours.max_ns) == (theirs.min_ns, theirs.max_ns)
        assert one_of.title == other.title
        assert one_of.notes == other.notes == ()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost(name: str) -> None:
    data = json.loads((GOLDEN / f"{name}.json").read_bytes())["thread"]
    for series in golden(f"{name}.json").series:
        thread = data[series.facts["thread"]]
        assert series.histogram.total == sum(thread["histogram"].values())
        assert series.histogram.overflow == list(thread["histogram"].values())[-1]
        assert series.facts["cpu"] == str(thread["cpu"])
        assert series.lacks == {Lack.ORDER, Lack.PERIOD, Lack.OVERFLOW}
        assert (series.overruns, series.period_ns) == (0, 0)


def test_bins_reach_up_to_their_name() -> None:
    found = bins(golden("2.10-plain.json").series[0])
    assert found[0][:2] == (0, 999)
    assert found[1][:2] == (1_000, 1_999)


@pytest.mark.parametrize("version", ["2.6", "2.10"])
def test_times_in_nanoseconds(version: str) -> None:
    """Then minimum and maximum of the JSON are in ns, edges in µs."""
    histogram = golden(f"{version}-nano.json").series[0].histogram
    data = json.loads((GOLDEN / f"{version}-nano.json").read_bytes())["thread"]["0"]
    assert (histogram.min_ns, histogram.max_ns) == (data["min"], data["max"])
    assert histogram.overflow_from_ns == 3_500
    assert histogram.resolution_ns == 500


def test_it_says_that_gaps_are_no_wake_ups() -> None:
    imported = golden("2.4-plain.txt")
    assert "gaps in a busy loop, not wake-ups" in imported.notes[0]
    assert imported.facts == {"rt_tests": "2.40"}


def test_a_table() -> None:
    first, second = text(TEXT).series
    assert bins(first) == [(0, 999, 900)]
    assert (first.histogram.overflow, first.histogram.overflow_from_ns) == (8, 3_000)
    assert first.histogram.max_ns == 201_000
    assert (first.title, second.title) == ("thread 0 on CPU 3", "thread 1 on CPU 5")
    assert first.facts["counter_mhz"] == "2597"
    assert second.facts["duration_s"] == "1.000"
    assert second.histogram.overflow == 0
    assert Lack.OVERFLOW not in second.lacks


def test_a_maximum_that_may_be_rounded_either_way() -> None:
    """Rounded up, 2 is in the bucket "002"; rounded down, it is up to 2.999 µs long."""
    second = text(TEXT).series[1]
    assert bins(second)[-1] == (1_000, 2_999, 30)
    assert second.histogram.max_ns == 2_000
    rounded_down = text(TEXT.replace("Minimum:\t 1 1", "Minimum:\t 0 0")).series[1]
    assert (rounded_down.histogram.overflow, rounded_down.histogram.overflow_from_ns) == (30, 1_000)


def test_the_first_bucket_holds_shorter_gaps() -> None:
    thread = {"min": 0, "max": 12, "histogram": {"11": 5, "12": 3, "13": 1}}
    found = one(thread, "oslat -B -b 8")
    assert bins(found) == [(0, 10_999, 5), (11_000, 11_999, 3), (12_000, 12_999, 1)]
    assert found.histogram.min_ns == 0


def test_the_width_of_the_command_line() -> None:
    thread = {"min": 0, "max": 9, "histogram": {"4": 5, "12": 3}}
    assert bins(one(thread, "oslat -W 4000"))[-1] == (8_000, 11_999, 3)
    assert bins(one(thread, "oslat --bucket-width=2000"))[-1] == (10_000, 11_999, 3)
    assert bins(one(thread, ""))[-1] == (8_000, 11_999, 3)


def test_no_gap_at_all() -> None:
    found = one({"min": 2**64 - 1, "max": 0, "histogram": {}})
    assert (found.histogram.total, found.histogram.min_ns) == (0, None)


def test_a_cut_table() -> None:
    imported = text(TEXT[: TEXT.index("     Minimum")])
    assert any("the maximum is not told" in note for note in imported.notes)
    assert {Lack.OVERFLOW, Lack.EXTREMES} <= imported.series[0].lacks
    imported = text(TEXT[: TEXT.index("Maximum:") + len("Maximum:\t 201")])
    assert any("line 15 cut or damaged" in note for note in imported.notes)


def test_a_trace_threshold() -> None:
    stopped = TEXT + "oslat: Trace threshold (50 us) triggered on cpu 3 with 61 us!\n"
    assert any("more than 50 µs, as -T demands" in note for note in text(stopped).notes)


def test_foreign_lines() -> None:
    assert any("line 1 not of oslat" in note for note in text("hello\n" + TEXT).notes)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (TEXT[: TEXT.index("    001")].encode(), "no table of oslat"),
        (b"hello\n", "no table of oslat"),
        ((TEXT + TEXT).encode(), 'line 25: a second row "Core:"'),
        (re.sub("004", "002", TEXT).encode(), "line 12: its buckets are not in order"),
        (re.sub(r"\b900\b", str(2**53), TEXT).encode(), "more wake-ups than there can be"),
        (made({"min": 1, "max": 2}), '"histogram" is missing'),
        (made({"histogram": {"x": 1}}), "a bucket is named 'x'"),
        (made({"histogram": {"1": -1}}), "the count of '1' is -1"),
        (made({"histogram": {"1": 1, "1.0": 1}}), "overlap"),
        (made({"histogram": {"1": 1}}, "cyclictest -h 5"), "of cyclictest, not of oslat"),
    ],
)
def test_damage_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        oslat.read(content, "made")
    assert caught.value.message.startswith("made")
    assert caught.value.hint


def test_too_many_buckets() -> None:
    rows = "".join(f"  {k:03} (us):\t 1\n" for k in range(1, oslat.MAX_BUCKETS + 3))
    with pytest.raises(DataError, match="more than 65536 buckets"):
        text("        Core:\t 3\n" + rows)


def test_what_it_takes_for_its_own() -> None:
    for path in GOLDEN.glob("*.*t*"):
        assert oslat.matches(path.read_bytes(), path.name)
    neighbours = GOLDEN.parent / "cyclictest"
    for path in (*neighbours.glob("*.json"), *neighbours.glob("*.txt")):
        assert not oslat.matches(path.read_bytes(), path.name), path.name
    with pytest.raises(DataError, match="this is oslat's") as caught:
        cyclictest_json.read((GOLDEN / "2.4-plain.json").read_bytes(), "x")
    assert "--format oslat" in caught.value.hint
