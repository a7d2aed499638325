"""The JSON of cyclictest and its neighbours in rt-tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers import cyclictest_histogram, cyclictest_json
from vmjitter.report.importers.base import Imported, Series
from vmjitter.stats.histogram import Histogram

GOLDEN = Path(__file__).parents[1] / "golden" / "cyclictest"
VERSIONS = ("2.4", "2.6", "2.10")


def read(name: str) -> Imported:
    return cyclictest_json.read((GOLDEN / name).read_bytes(), name)


def made(thread: dict[str, object], /, **changes: object) -> bytes:
    """A file with one thread; a change replaces a key, or removes it if it is None."""
    data: dict[str, object] = {
        "file_version": 1,
        "cmdline:": "cyclictest -q -i 200 -h 400 -D 60",
        "rt_test_version:": "2.80",
        "start_time": "Mon, 31 Aug 2026 00:23:41 -0500",
        "end_time": "Mon, 31 Aug 2026 00:24:41 -0500",
        "return_code": 0,
        "sysinfo": {"release": "6.12.0-rt", "realtime": 1, "nodename": "secret"},
        "num_threads": 1,
        "resolution_in_ns": 0,
        "thread": {"3": thread},
        **{key.replace("_colon", ":"): value for key, value in changes.items()},
    }
    return json.dumps({key: value for key, value in data.items() if value is not None}).encode()


THREAD: dict[str, object] = {
    "histogram": {"2": 172760, "3": 90126, "279": 1},
    "cycles": 299998,
    "min": 2,
    "max": 12345,
    "avg": 2.69,
    "cpu": 9,
    "node": 0,
}


def one(content: bytes) -> Series:
    (series,) = cyclictest_json.read(content, "made").series
    return series


def bins(histogram: Histogram) -> list[tuple[int, int]]:
    return list(zip(histogram.low_ns.tolist(), histogram.count.tolist(), strict=True))


@pytest.mark.parametrize("version", VERSIONS)
def test_json_and_text_of_a_run_agree(version: str) -> None:
    from_json = read(f"{version}-histogram.json")
    place = f"{version}-histogram.txt"
    from_text = cyclictest_histogram.read((GOLDEN / place).read_bytes(), place)
    for one_of, other in zip(from_json.series, from_text.series, strict=True):
        ours, theirs = one_of.histogram, other.histogram
        assert bins(ours) == bins(theirs)
        assert (ours.total, ours.overflow) == (theirs.total, theirs.overflow) != (0, 0)
        assert (ours.min_ns, ours.max_ns) == (theirs.min_ns, theirs.max_ns)
        assert one_of.period_ns == 1_000_000
        assert one_of.lacks >= {Lack.OVERRUNS, Lack.ORDER}


def test_values_of_a_recording() -> None:
    imported = read("2.10-histogram.json")
    assert (
        imported.command
        == "/usr/bin/cyclictest -m -p 90 -i 1000 -t 2 -a -q -l 500 -h 60 --json=result.json"
    )
    assert imported.created_utc.startswith("2026-11-26T06:34:")
    first, second = imported.series
    assert (first.name, first.title) == ("thread-0", "thread 0 on CPU 0")
    histogram = first.histogram
    assert (histogram.total, histogram.overflow, histogram.overflow_from_ns) == (500, 2, 60_000)
    assert (histogram.min_ns, histogram.max_ns) == (13_000, 63_000)
    assert int((histogram.high_ns - histogram.low_ns).max()) == 999
    assert second.facts["cpu"] == "1"


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_histogram_only_extremes_are_known(version: str) -> None:
    """2.4 and 2.6 write an empty histogram then, 2.10 none."""
    first, second = read(f"{version}-nano.json").series
    assert (first.period_ns, second.period_ns) == (1_000_000, 1_500_000)
    histogram = first.histogram
    assert histogram.total == 300
    assert histogram.overflow == 299
    assert histogram.overflow_from_ns == histogram.min_ns
    assert histogram.resolution_ns == 1
    assert Lack.OVERFLOW in first.lacks


@pytest.mark.parametrize("version", VERSIONS)
def test_left_out_periods_are_noted(version: str) -> None:
    for series in read(f"{version}-stopped.json").series:
        missing = 2000 - series.histogram.total
        assert missing >= 59  # 30 ms of periods of 500 us
        assert series.notes[0].startswith(f"{missing} of 2000 periods have no wake-up")
        assert series.overruns is None


def test_no_wake_up_at_all() -> None:
    """The average is -nan then, which is no JSON, and the minimum a million."""
    assert b"-nan" in (GOLDEN / "2.6-early.json").read_bytes()
    for version in ("2.6", "2.10"):
        (series,) = read(f"{version}-early.json").series
        assert series.histogram.total == 0
        assert series.histogram.max_ns is series.histogram.min_ns is None
        assert series.notes == ()


def test_every_wake_up_beyond_the_histogram() -> None:
    (series,) = read("2.4-early.json").series
    assert bins(series.histogram) == [(77_000, 1)]
    assert series.histogram.overflow == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_quotation_mark_in_the_command_line(version: str) -> None:
    imported = read(f"{version}-quoted.json")
    assert '--histfile=a"b' in imported.command
    assert imported.series[0].histogram.total == 20


def test_overflow_is_what_is_missing_in_the_bins() -> None:
    series = one(made(THREAD))
    histogram = series.histogram
    assert (histogram.total, histogram.overflow) == (299_998, 299_998 - 172_760 - 90_126 - 1)
    assert (histogram.overflow_from_ns, histogram.max_ns) == (400_000, 12_345_000)
    assert (series.name, series.title, series.period_ns) == (
        "thread-3",
        "thread 3 on CPU 9",
        200_000,
    )


def test_without_the_command_line_overflow_is_above_the_highest_bin() -> None:
    series = one(made(THREAD, cmdline_colon=None))
    assert series.histogram.overflow_from_ns == 280_000
    assert series.period_ns == 0
    assert Lack.PERIOD in series.lacks


def test_keys_without_a_colon() -> None:
    content = made(
        THREAD, cmdline_colon=None, cmdline="/opt/cyclictest --interval=500 --histogram 300"
    )
    imported = cyclictest_json.read(content, "made")
    assert imported.series[0].period_ns == 500_000
    assert imported.series[0].histogram.overflow_from_ns == 300_000
    assert imported.tool == "cyclictest"


def test_the_name_of_the_machine_is_left_out() -> None:
    imported = cyclictest_json.read(made(THREAD), "made")
    assert imported.facts == {"kernel": "6.12.0-rt", "realtime_kernel": "yes", "rt_tests": "2.80"}
    assert imported.created_utc == "2026-08-31T05:23:41Z"


def test_threads_that_are_not_pinned() -> None:
    series = one(made({**THREAD, "cpu": -1}))
    assert (series.title, "cpu" in series.facts) == ("thread 3", False)


def test_a_maximum_in_no_bin_is_counted() -> None:
    """The program counts after it has noted the maximum, and may be stopped in between."""
    series = one(made({"histogram": {"2": 10}, "cycles": 10, "min": 2, "max": 999}))
    assert (series.histogram.overflow, series.histogram.overflow_from_ns) == (1, 999_000)
    assert series.histogram.late(500_000) == (1, 1)
    assert "it is counted as one wake-up beyond them" in series.notes[-1]


def test_bins_above_the_cycles_are_noted() -> None:
    series = one(made({"histogram": {"2": 10}, "cycles": 7, "min": 2, "max": 2}))
    assert series.histogram.total == 10
    assert "10 wake-ups, but 7 are counted" in series.notes[0]


def test_another_status_is_noted() -> None:
    assert "status 1" in cyclictest_json.read(made(THREAD, return_code=1), "made").notes[0]


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        ("00:23:41", "00:24:41", "2 of 300000"),  # the whole minute of -D
        ("00:23:41", "00:24:01", ""),  # stopped after 20 s: 18 s or more, so 90000 or more
    ],
)
def test_missing_periods_of_a_stopped_run(start: str, end: str, wanted: str) -> None:
    times = {
        key: f"Mon, 31 Aug 2026 {value} +0000"
        for key, value in (("start_time", start), ("end_time", end))
    }
    thread = {"histogram": {"2": 299_998}, "cycles": 299_998, "min": 2, "max": 2}
    assert one(made(thread, **times)).notes == ()
    few = {"histogram": {"2": 299_990}, "cycles": 299_990, "min": 2, "max": 2}
    notes = one(made(few, **times)).notes
    assert notes == () if not wanted else notes[0].startswith("10 of 300000")
    lost = {"histogram": {"2": 80_000}, "cycles": 80_000, "min": 2, "max": 2}
    assert any("at least 10000 of 90000" in note for note in one(made(lost, **times)).notes) == (
        not wanted
    )


def test_other_programs() -> None:
    signals = read("2.10-signaltest.json")
    assert signals.tool == "signaltest"
    assert signals.series[1].histogram.max_ns == 10_097_000
    semaphores = read("2.10-ptsematest.json").series
    assert [series.period_ns for series in semaphores] == [1_000_000, 1_500_000]
    assert semaphores[0].facts["cycles"] == "50"
    assert semaphores[0].histogram.max_ns == 62_000


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("2.10-rt-migrate-test.json", "rt-migrate-test measures none"),
        ("2.10-ssdd.json", 'no "thread"'),
    ],
)
def test_programs_that_measure_no_latency(name: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read(name)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (made(THREAD)[:-40], "line 1: the JSON is damaged or cut"),
        (made({**THREAD, "cycles": -5}), '"cycles" is -5'),
        (made({**THREAD, "cycles": 1.5}), '"cycles" is 1.5'),
        (made({**THREAD, "histogram": {"x": 1}}), "a key of the histogram is 'x'"),
        (made({**THREAD, "histogram": {"01": 1, "1": 1}}), "two bins for 1"),
        (made({**THREAD, "histogram": {"1": 2**60}}), "more wake-ups than can be counted"),
        (made({**THREAD, "histogram": {str(2**60): 1}}), "over 70 years"),
        (made({**THREAD, "histogram": [1]}), '"histogram" is no object'),
        (made(THREAD, thread={"a": {}}), "\"thread\" holds 'a'"),
        (made(THREAD, thread={}), 'there is no "thread"'),
        (b"[]", "no JSON object"),
        (b'{"a":' * 100_000, "too deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
def test_damage_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        cyclictest_json.read(content, "made")
    assert caught.value.message.startswith("made")
    assert caught.value.hint


def test_a_sentinel_is_no_latency() -> None:
    series = one(made({"cycles": 5, "histogram": {"3": 5}, "min": 2**64 - 1, "max": 3}))
    assert (series.histogram.min_ns, series.histogram.max_ns) == (3_000, 3_000)


def test_what_it_takes_for_its_own() -> None:
    assert cyclictest_json.matches((GOLDEN / "2.4-histogram.json").read_bytes(), "x")
    assert not cyclictest_json.matches((GOLDEN / "2.4-histogram.txt").read_bytes(), "x")
    assert not cyclictest_json.matches(b'{"version": 3}', "x")
