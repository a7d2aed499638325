"""jitterdebugger: results.json and samples.raw of the same measurement say the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers import jitterdebugger_json, jitterdebugger_raw
from vmjitter.report.importers.base import Imported

GOLDEN = Path(__file__).parents[1] / "golden/jitterdebugger"
US = 1000
NAMES = ["0.3", "0.3-nano", "0.3-stopped"]

RECORD = np.dtype([("thread", "<u4"), ("second", "<i8"), ("nanosecond", "<i8"), ("value", "<i8")])


def results(name: str) -> Imported:
    place = f"{name}-results.json"
    return jitterdebugger_json.IMPORTER.read((GOLDEN / place).read_bytes(), place)


def samples(name: str) -> Imported:
    place = f"{name}-samples.raw"
    return jitterdebugger_raw.IMPORTER.read((GOLDEN / place).read_bytes(), place)


def from_json(data: object) -> Imported:
    return jitterdebugger_json.IMPORTER.read(json.dumps(data).encode(), "results.json")


def thread(**changed: object) -> dict[str, object]:
    own: dict[str, object] = {"histogram": {"3": 5, "4": 1}, "count": 6, "min": 3, "max": 4}
    return {"version": 3, "sysinfo": {"resolution_in_ns": 1000}, "cpu": {"0": {**own, **changed}}}


def raw(latency: list[int], *, unit_ns: int = US, period_ns: int = 250 * US) -> bytes:
    """What one thread writes that woke up with these latencies in ns."""
    planned = 5_000_000_123 + np.arange(len(latency), dtype=np.int64) * period_ns
    woken = planned + np.array(latency, np.int64)
    records = np.zeros(len(latency), RECORD)
    records["second"], records["nanosecond"] = np.divmod(woken, 1_000_000_000)
    # C cuts off towards zero
    records["value"] = np.trunc(np.array(latency, np.int64) / unit_ns).astype(np.int64)
    return records.tobytes()


def read_raw(content: bytes) -> Imported:
    return jitterdebugger_raw.IMPORTER.read(content, "samples.raw")


@pytest.mark.parametrize("name", NAMES)
def test_results_count_every_wake_up(name: str) -> None:
    data = json.loads((GOLDEN / f"{name}-results.json").read_bytes())
    unit_ns = data["sysinfo"]["resolution_in_ns"]
    for series in results(name).series:
        own = data["cpu"][series.facts["thread"]]
        histogram = series.histogram
        assert histogram.total == own["count"]
        assert histogram.overflow == own["count"] - sum(own["histogram"].values())
        assert histogram.min_ns == own["min"] * unit_ns
        assert histogram.max_ns == own["max"] * unit_ns
        assert series.lacks == {Lack.ORDER, Lack.PERIOD}


@pytest.mark.parametrize("name", NAMES)
def test_samples_agree_with_results(name: str) -> None:
    for whole, part in zip(samples(name).series, results(name).series, strict=True):
        assert whole.period_ns == 1_000_000  # the default
        assert whole.lacks == set()
        assert 0 <= part.histogram.total - whole.histogram.total <= 1  # the last one may be lost
        assert whole.histogram.max_ns == part.histogram.max_ns
        assert whole.histogram.resolution_ns == (1 if "nano" in name else US)
        assert whole.latency_ns is not None
        known = dict(zip(part.histogram.low_ns, part.histogram.count, strict=True))
        for low, count in zip(whole.histogram.low_ns, whole.histogram.count, strict=True):
            if low < part.histogram.overflow_from_ns or not part.histogram.overflow:
                assert 0 <= known[low] - count <= 1


def test_samples_agree_with_jittersamples() -> None:
    rows = [line.split(";") for line in (GOLDEN / "0.3-samples.csv").read_text().splitlines()]
    for series in samples("0.3").series:
        assert series.latency_ns is not None
        wanted = [int(row[2]) * US for row in rows if row[0] == series.facts["thread"]]
        assert len(wanted) > 50
        assert series.latency_ns[: len(wanted)].tolist() == wanted


def test_what_is_beyond_the_slots_is_overflow() -> None:
    histogram = results("0.3-stopped").series[0].histogram
    assert (histogram.overflow, histogram.overflow_from_ns) == (11, 1000 * US)
    # the samples have all of them
    exact = samples("0.3-stopped").series[0].histogram
    assert exact.late(1000 * US - 1).surely == 11
    assert histogram.late(1000 * US - 1).surely == 11


def test_thread_is_not_cpu() -> None:
    series = results("0.3-nano").series[0]  # ran on CPU 1
    assert (series.name, series.title) == ("thread-0", "thread 0, CPU unknown")


def test_facts_leave_out_the_name_of_the_machine() -> None:
    facts = results("0.3").facts
    assert facts["machine"] == "x86_64"
    assert "nodename" not in facts


def test_no_wake_up_at_all() -> None:
    text = json.dumps(thread(histogram={}, count=0, min=(1 << 64) - 1, max=0, avg="x"))
    content = text.replace('"x"', "-nan").encode()
    (series,) = jitterdebugger_json.IMPORTER.read(content, "results.json").series
    assert (series.histogram.total, series.histogram.min_ns) == (0, None)
    assert "avg_us" not in series.facts


def test_wake_up_before_its_time_hides_the_maximum() -> None:
    (series,) = from_json(thread(count=7, max=(1 << 64) - 2)).series
    assert (series.histogram.overflow, series.histogram.max_ns) == (1, None)
    assert Lack.EXTREMES in series.lacks
    assert any("before its time" in note for note in series.notes)


def test_old_version_may_have_left_out_periods() -> None:
    data = thread()
    del data["version"], data["sysinfo"]
    imported = from_json(data)
    assert Lack.OVERRUNS in imported.series[0].lacks
    assert imported.series[0].histogram.min_ns == 3 * US
    assert any("does not name its unit" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "line 1: the JSON is damaged or cut"),
        (b"[]", "no JSON object"),
        (b"[" * 100_000, "too deep"),
        (b'{"cpu":' + b"9" * 5000 + b"}", "too many digits"),
        (b"{}", 'no "cpu"'),
        (json.dumps(thread(count=None)).encode(), 'thread 0: it has no "count"'),
        (json.dumps(thread(count=-1)).encode(), '"count" is -1'),
        (json.dumps(thread(histogram={"x": 1})).encode(), '"histogram" holds x'),
        (json.dumps(thread(histogram={"3": 1.5})).encode(), '"histogram" holds 3: 1.5'),
        (json.dumps(thread(histogram=[1])).encode(), "no JSON object"),
        (json.dumps({**thread(), "sysinfo": {"resolution_in_ns": 0}}).encode(), "not 1 or 1000"),
        (json.dumps({"cpu": {"a": {}}}).encode(), "which is no thread"),
        (json.dumps({"cpu": {str(n): {} for n in range(5000)}}).encode(), "5000 threads"),
    ],
)
def test_results_refused_with_reason_and_remedy(content: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        jitterdebugger_json.IMPORTER.read(content, "results.json")
    assert caught.value.message.startswith("results.json")
    assert caught.value.hint


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    latency=st.lists(st.integers(0, 80_000), min_size=30, max_size=60),
    period_us=st.integers(200, 5000),
    unit_ns=st.sampled_from([1, US]),
)
def test_unit_and_period_follow_from_the_times(
    latency: list[int], period_us: int, unit_ns: int
) -> None:
    # latencies that hardly differ would fit both units
    latency = [value + 90_000 * (place % 2) for place, value in enumerate(latency)]
    (series,) = read_raw(raw(latency, unit_ns=unit_ns, period_ns=period_us * US)).series
    assert series.period_ns == period_us * US
    assert series.latency_ns is not None
    assert series.latency_ns.tolist() == [value // unit_ns * unit_ns for value in latency]
    assert series.histogram.resolution_ns == unit_ns


def test_lost_samples_are_overflow_of_unknown_latency() -> None:
    content = raw([2000 + 37 * place for place in range(100)])
    (series,) = read_raw(content[: 40 * 28] + content[43 * 28 :]).series
    assert (series.histogram.total, series.histogram.overflow) == (100, 3)
    assert series.latency_ns is None
    assert series.lacks == {Lack.ORDER, Lack.EXTREMES}
    assert any("3 wake-ups" in note for note in series.notes)


def test_early_wake_ups_stay_negative() -> None:
    latency = [2000 + 3700 * place for place in range(20)]
    (series,) = read_raw(raw([-5000, *latency])).series
    assert series.latency_ns is not None
    assert (series.latency_ns[0], series.histogram.negative) == (-5000, 1)
    assert any("before their time" in note for note in series.notes)


def test_cut_record_is_left_out() -> None:
    imported = read_raw(raw([2000 + 37 * place for place in range(30)])[:-5])
    assert imported.series[0].histogram.total == 29
    assert any("last 23 bytes" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no record"),
        (b"x" * 27, "no record"),
        (b"x" * 280, "record 1 has an impossible time"),
        (raw([2000, 3000, 4000]), "3 records cannot be told"),
        (raw([0] * 50), "several units fit"),
        (raw([9000 * (place % 3) for place in range(30)], unit_ns=7), "no whole periods"),
        (raw([2000 + 37 * place for place in range(30)]) * 2, "record 31 is not later"),
    ],
)
def test_samples_refused_with_reason_and_remedy(content: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read_raw(content)
    assert caught.value.message.startswith("samples.raw")
    assert caught.value.hint


def test_too_many_threads() -> None:
    records = np.zeros(5000, RECORD)
    records["thread"], records["second"] = np.arange(5000), 7
    with pytest.raises(DataError, match="5000 threads"):
        read_raw(records.tobytes())


def test_sniffs() -> None:
    for path in GOLDEN.iterdir():
        head = path.read_bytes()
        found = jitterdebugger_json.IMPORTER.matches(head, "x")
        assert found == path.name.endswith("results.json")
        found = jitterdebugger_raw.IMPORTER.matches(head[: 1 << 16], "x")
        assert found == path.name.endswith("samples.raw")
