"""Exports in the formats of cyclictest, read as its users read them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.exportmaker import export, imported, judged, trial_of
from fakes.runmaker import TrialMaker, latencies, make_status
from vmjitter.errors import DataError, UsageError
from vmjitter.report.exporters import cyclictest_histogram as histogram_text
from vmjitter.report.importers import cyclictest_histogram, cyclictest_json
from vmjitter.stats.histogram import MISSED, Histogram, binned

LATENCY = latencies(4000, seed=11, worst_ns=2_500_000)
TRIAL = TrialMaker(status=make_status(loops=4000), latency_ns=LATENCY)
AWAKE = LATENCY[LATENCY != MISSED]

# What cyclictest 2.40 writes, in its order.
HEAD = [
    "file_version",
    "cmdline:",
    "rt_test_version:",
    "start_time",
    "end_time",
    "return_code",
    "sysinfo",
    "num_threads",
    "resolution_in_ns",
    "thread",
]
THREAD = ["histogram", "cycles", "min", "max", "avg", "cpu", "node"]
SYSINFO = ["sysname", "nodename", "release", "version", "machine", "realtime"]

RECIPE = r"""
set -e
grep "Max Latencies" output | tr " " "\n" | sort -n | tail -1 | sed 's/^0*//' >maximum
grep -v -e "^#" -e "^$" output | tr " " "\t" >rows
for column in 2 3; do cut -f1,$column rows >column$column; done
"""
"""What OSADL's recipe and the scripts after it do before they call gnuplot."""


def of_bins(
    *bins: tuple[int, int], overflow: int = 0, from_us: int = 0, **changes: int
) -> Histogram:
    counts = [(us * 1000, us * 1000 + 999, count) for us, count in bins]
    return binned(counts, overflow=overflow, overflow_from_ns=from_us * 1000, **changes)


OVERFLOWN = of_bins((3, 70), (9, 5), overflow=2, from_us=10, min_ns=3000, max_ns=4_711_000)


def document(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    return data


def test_json_has_what_cyclictest_writes(tmp_path: Path) -> None:
    data = document(export("cyclictest-json", judged(tmp_path, TRIAL)))
    assert [key for key in data if key in HEAD] == HEAD
    assert set(data) - set(HEAD) == {"vmjitter"}
    assert list(data["sysinfo"]) == SYSINFO
    thread = data["thread"]["0"]
    assert [key for key in thread if key in THREAD] == THREAD
    assert set(thread) - set(THREAD) == {"interval", "vmjitter"}
    assert data["num_threads"] == len(data["thread"]) == 1
    assert data["start_time"] == "Sat, 31 Jan 2026 14:25:31 +0000"
    assert data["end_time"] == "Sat, 31 Jan 2026 14:29:31 +0000"
    assert (data["resolution_in_ns"], data["return_code"], thread["interval"]) == (0, 0, 1000)
    assert data["cmdline:"] == "vmjitter run paper --interval=1000 --loops=4000"
    assert data["sysinfo"]["nodename"] == "[redacted]"


def test_json_names_the_machine_of_the_probe(tmp_path: Path) -> None:
    uname = "Linux box 6.12.57-rt #1 SMP PREEMPT_RT Debian 6.12.57-1 (2026-01-05) i686 GNU/Linux"
    inside = trial_of([5], guest_facts={"kernel": uname})
    found = document(export("cyclictest-json", judged(tmp_path / "a", inside)))["sysinfo"]
    assert (found["release"], found["machine"], found["realtime"]) == ("6.12.57-rt", "i686", 1)
    assert found["version"] == "#1 SMP PREEMPT_RT Debian 6.12.57-1 (2026-01-05)"
    assert "box" not in found.values()
    host = {"kernel": "Linux version 6.1.0 (me@here) (gcc 12) #9 SMP", "machine": "x86_64"}
    both = judged(tmp_path / "b", inside, trial_of([5], "native"), host=host)
    found = document(export("cyclictest-json", both))["sysinfo"]
    assert (found["release"], found["version"]) == ("6.1.0", "#9 SMP")
    assert (found["machine"], found["realtime"]) == ("x86_64", 0)


def test_json_names_no_machine_for_guests_with_different_kernels(tmp_path: Path) -> None:
    uname = "Linux box {} #1 SMP Debian 6.12.57-1 (2026-01-05) i686 GNU/Linux"
    trials = [
        trial_of([5], scenario, guest_facts={"kernel": uname.format(release)})
        for scenario, release in (("a", "6.12.57"), ("b", "6.12.57-rt"))
    ]
    host = {"kernel": "Linux version 6.1.0 (me@here) (gcc 12) #9 SMP", "machine": "x86_64"}
    result = judged(tmp_path, *trials, host=host)
    found = document(export("cyclictest-json", result))["sysinfo"]
    assert (found["sysname"], found["release"], found["machine"]) == ("", "", "")


def test_json_counts_in_whole_microseconds(tmp_path: Path) -> None:
    thread = document(export("cyclictest-json", judged(tmp_path, TRIAL)))["thread"]["0"]
    value, count = np.unique(AWAKE // 1000, return_counts=True)
    assert thread["histogram"] == {
        str(us): number for us, number in zip(value.tolist(), count.tolist(), strict=True)
    }
    assert (thread["cycles"], thread["min"], thread["max"]) == (len(AWAKE), value[0], value[-1])
    assert thread["avg"] == pytest.approx(float((AWAKE // 1000).mean()), abs=0.01)
    extra = thread["vmjitter"]
    assert (extra["max_ns"], extra["overruns"]) == (2_500_000, len(LATENCY) - len(AWAKE))
    assert extra["overruns"] > 0
    assert extra["conditions"] == ["TCG: times are not those of a KVM host"]


def test_json_says_what_its_histogram_cannot(tmp_path: Path) -> None:
    result = judged(tmp_path, trial_of([-1, -2500, 400, 1000]), deadline_ns=900)
    thread = document(export("cyclictest-json", result))["thread"]["0"]
    assert (thread["histogram"], thread["min"]) == ({"0": 3, "1": 1}, 0)
    extra = thread["vmjitter"]
    assert (extra["negative"], extra["min_ns"], extra["misses"]) == (2, -2500, 1)
    assert extra["verdict"] == "fail"


def test_json_without_a_wake_up_has_no_sentinels(tmp_path: Path) -> None:
    result = judged(tmp_path, TrialMaker(status=make_status(loops=0)), created_utc="?")
    data = document(export("cyclictest-json", result))
    thread = data["thread"]["0"]
    assert (thread["cycles"], thread["histogram"]) == (0, {})
    assert (thread["min"], thread["max"], thread["avg"]) == (None, None, None)
    assert data["return_code"] == 1


def test_json_of_an_overflow() -> None:
    thread = document(export("cyclictest-json", imported(OVERFLOWN)))["thread"]["0"]
    assert thread["cycles"] - sum(thread["histogram"].values()) == 2
    assert (thread["max"], thread["vmjitter"]["overflow"]) == (4711, 2)
    assert thread["vmjitter"]["overflow_from_ns"] == 10_000
    assert thread["vmjitter"]["overruns"] is None  # not counted there, which is not the same as 0


def test_json_holds_every_name(tmp_path: Path) -> None:
    result = judged(tmp_path, TRIAL, plan='pa"per\\', title="\ud7ff\n\x00")
    assert document(export("cyclictest-json", result))["vmjitter"]["plan"] == 'pa"per\\'


microseconds = st.integers(0, 200_000)


@settings(deadline=None, max_examples=60)
@given(
    bins=st.dictionaries(microseconds, st.integers(1, 1 << 40), min_size=1, max_size=20),
    overflow=st.integers(0, 1000),
)
def test_json_comes_back(bins: dict[int, int], overflow: int) -> None:
    top = max(bins)
    histogram = of_bins(
        *bins.items(),
        overflow=overflow,
        from_us=top + 1 if overflow else 0,
        min_ns=min(bins) * 1000,
        max_ns=(top + 5 if overflow else top) * 1000,
    )
    text = export("cyclictest-json", imported(histogram))
    (series,) = cyclictest_json.read(text.encode(), "export.json").series
    again = series.histogram
    assert again.low_ns.tolist() == histogram.low_ns.tolist()
    assert again.high_ns.tolist() == histogram.high_ns.tolist()
    assert again.count.tolist() == histogram.count.tolist()
    assert (again.overflow, again.overflow_from_ns) == (overflow, histogram.overflow_from_ns)
    assert (again.min_ns, again.max_ns) == (histogram.min_ns, histogram.max_ns)
    assert series.period_ns == 1_000_000


@settings(deadline=None, max_examples=40)
@given(
    bins=st.dictionaries(st.integers(0, 3000), st.integers(1, 1 << 40), min_size=1, max_size=20),
    overflow=st.integers(0, 1000),
)
def test_histogram_comes_back(bins: dict[int, int], overflow: int) -> None:
    top = max(bins)
    histogram = of_bins(
        *bins.items(),
        overflow=overflow,
        from_us=top + 1 if overflow else 0,
        min_ns=min(bins) * 1000,
        max_ns=(top + 5 if overflow else top) * 1000,
    )
    text = export("cyclictest-histogram", imported(histogram, histogram))
    both = cyclictest_histogram.IMPORTER.read(text.encode(), "export.txt").series
    assert len(both) == 2
    for series in both:
        again = series.histogram
        assert again.low_ns.tolist() == histogram.low_ns.tolist()
        assert again.count.tolist() == histogram.count.tolist()
        assert (again.overflow, again.overflow_from_ns) == (overflow, histogram.overflow_from_ns)
        assert (again.min_ns, again.max_ns) == (histogram.min_ns, histogram.max_ns)


def test_histogram_for_plot_scripts(tmp_path: Path) -> None:
    """With the tools that the scripts use; a title must not get into their way."""
    other = TrialMaker(
        status=make_status("quiet", title="Max Latencies 9999999"),
        latency_ns=latencies(1000, seed=2, worst_ns=80_000),
    )
    (tmp_path / "output").write_text(
        export("cyclictest-histogram", judged(tmp_path, TRIAL, other, title="Max Latencies 99999"))
    )
    shell = shutil.which("sh")
    assert shell
    subprocess.run([shell, "-c", RECIPE], cwd=tmp_path, check=True)
    assert (tmp_path / "maximum").read_text() == "2500\n"
    for column, latency in ((2, AWAKE), (3, other.latency_ns)):
        table = np.loadtxt(tmp_path / f"column{column}", dtype=np.int64)
        assert table[:, 0].tolist() == list(range(2501))
        counted = np.bincount(latency // 1000, minlength=2501)
        assert table[:, 1].tolist() == counted.tolist()


def test_histogram_lines_are_those_of_cyclictest(tmp_path: Path) -> None:
    lines = export("cyclictest-histogram", judged(tmp_path, trial_of([0, 999, 2000]))).splitlines()
    ours = [line for line in lines if line.startswith("# vmjitter: ")]
    assert lines[len(ours) :] == [
        "# Histogram",
        "000000 000002",
        "000001 000000",
        "000002 000001",
        "# Total: 000000003",
        "# Min Latencies: 00000",
        "# Avg Latencies: 00000",
        "# Max Latencies: 00002",
        "# Histogram Overflows: 00000",
        "# Histogram Overflow at cycle number:",
        "# Thread 0: ",
    ]
    assert any("condition: TCG" in line for line in ours)


def test_histogram_with_a_limit_of_buckets(tmp_path: Path) -> None:
    late = [1000, 2_000_000, 5000, 3000, MISSED, 2_000_000]
    text = export("cyclictest-histogram", judged(tmp_path, trial_of(late)), histogram_max_us=3)
    lines = text.splitlines()
    assert [line for line in lines if line[:1] != "#"] == [
        "000000 000000",
        "000001 000001",
        "000002 000000",
    ]
    assert "# Total: 000000001" in lines
    assert "# Max Latencies: 02000" in lines
    assert "# Histogram Overflows: 00004" in lines
    assert "# Thread 0: 00001 00002 00003 # 00001 others" in lines
    assert "overruns=1" in text


def test_histogram_has_a_limit_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histogram_text, "DEFAULT_MAX_US", 5000)
    text = export("cyclictest-histogram", judged(tmp_path, trial_of([1000, 7_000_000_000])))
    assert "\n004999 000000\n# Total: 000000001\n" in text
    assert "# Histogram Overflows: 00001" in text
    assert "# Thread 0: 00001\n" in text
    assert "# Max Latencies: 7000000" in text


def test_histogram_of_an_overflow_ends_where_its_source_did() -> None:
    text = export("cyclictest-histogram", imported(OVERFLOWN))
    assert "\n000009 000005\n# Total: 000000075\n" in text
    assert "# Max Latencies: 04711\n# Histogram Overflows: 00002\n" in text
    assert "# Thread 0: # 00002 others\n" in text
    assert "wake-ups of 10 us or more, not in the mean: 2\n" in text
    with pytest.raises(UsageError, match="up to 10 µs only") as caught:
        export("cyclictest-histogram", imported(OVERFLOWN), histogram_max_us=11)
    assert "at most 10" in caught.value.hint


def test_histogram_says_what_is_not_known() -> None:
    unknown = of_bins((0, 1), overflow=3, from_us=0)
    text = export("cyclictest-histogram", imported(unknown))
    assert "the maximum is not known" in text
    assert "the minimum is not known" in text
    assert "\n000000 000001\n# Total: 000000001\n" in text
    wide = binned([(10_000, 29_999, 4)], min_ns=10_000, max_ns=29_000)
    assert "bins of up to 20000 ns: each is at its lower edge" in export(
        "cyclictest-histogram", imported(wide)
    )


def test_histogram_names_trials_without_a_column(tmp_path: Path) -> None:
    empty = TrialMaker(status=make_status("never", loops=0))
    text = export("cyclictest-histogram", judged(tmp_path, TRIAL, empty))
    assert "# vmjitter: column 2: kernel-io\n" in text
    assert "# vmjitter: no column: never: it has no wake-up\n" in text
    with pytest.raises(DataError, match="no wake-up to count"):
        export("cyclictest-histogram", judged(tmp_path / "other", empty))


def test_histogram_counts_early_wake_ups_and_says_so(tmp_path: Path) -> None:
    text = export("cyclictest-histogram", judged(tmp_path, trial_of([-1, -2500, 400])))
    assert "\n000000 000003\n# Total: 000000003\n" in text
    assert "wake-ups before their planned time, counted in bucket 0: 2\n" in text
