"""The probe as it is shipped."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from native.conftest import Memory, wait_until

MISSED = -(2**63)
OTHER = ("--policy", "other", "-q")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def measure(probe: str, *options: str | Path) -> dict[str, Any]:
    done = run(probe, *OTHER, "--json", *options)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_json(probe: str) -> None:
    result = measure(probe, "-l", "200", "-i", "500")
    assert result["format"] == 1
    assert result["activations"] == result["loops"] == 200
    assert result["count"] + result["overruns"] == 200
    assert result["min_ns"] <= result["p50_ns"] <= result["max_ns"]
    assert result["p99_ns"] is None  # 200 < 3 / 0.01
    assert result["period_ns"] == 500_000
    assert result["end_ns"] - result["t0_ns"] >= 199 * 500_000
    assert result["policy"] == result["policy_after"] == "other"
    assert result["clocksource_before"] == result["clocksource_after"]
    assert result["affinity"] == result["affinity_after"] != 0
    assert result["threshold_hit"] is False
    assert any("without real-time" in text for text in result["warnings"])


def test_raw_stream(probe: str, tmp_path: Path) -> None:
    result = measure(probe, "-l", "100", "--raw", tmp_path / "raw")
    stream = (tmp_path / "raw").read_bytes()
    magic, version, head, record, clock, period, t0, tsc_hz, loops, zero = struct.unpack_from(
        "<8sIIIIQQQQQ", stream
    )
    assert (magic, version, head, record, clock, zero) == (b"VMJSTRM\0", 1, 64, 16, 1, 0)
    assert (period, t0, loops) == (1_000_000, result["t0_ns"], 100)
    assert tsc_hz == result["tsc_hz"] > 0
    records = list(struct.iter_unpack("<qQ", stream[head:]))
    taken = [latency for latency, _ in records if latency != MISSED]
    assert len(records) == 100
    assert (min(taken), max(taken)) == (result["min_ns"], result["max_ns"])
    assert [tsc for latency, tsc in records if latency == MISSED] == [0] * result["overruns"]


def test_quantiles_are_nearest_rank(probe: str, tmp_path: Path) -> None:
    result = measure(probe, "-l", "3500", "-i", "100", "--raw", tmp_path / "raw")
    records = struct.iter_unpack("<qQ", (tmp_path / "raw").read_bytes()[64:])
    taken = sorted(latency for latency, _ in records if latency != MISSED)
    for key, permille in (("p50_ns", 500), ("p99_ns", 990)):
        if len(taken) * (1000 - permille) >= 3000:
            assert result[key] == taken[-(-len(taken) * permille // 1000) - 1]


def test_shared_memory(probe: str, memory: Memory) -> None:
    measure(probe, "-l", "150", "--shm", memory.path)
    assert memory.number("vmj_probe_result", "state") == memory.constants["VMJ_RUN_DONE"]
    assert memory.number("vmj_probe_result", "written") == 150
    assert memory.number("vmj_probe_result", "policy") == os.SCHED_OTHER
    assert memory.text("vmj_stream_header", "magic") == "VMJSTRM"
    assert memory.number("vmj_stream_header", "loops") == 150
    assert memory.number("vmj_stream_header", "t0_ns") == memory.number("vmj_probe_result", "t0_ns")
    missed = [latency for latency, _ in memory.samples(150)].count(MISSED)
    assert memory.number("vmj_probe_result", "overruns") == missed
    assert all(tsc > 0 for latency, tsc in memory.samples(150) if latency != MISSED)


def test_ring_wraps_and_stop_ends_the_run(probe: str, memory: Memory) -> None:
    command = [probe, *OTHER, "-i", "100", "-l", "0", "--shm", str(memory.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: memory.number("vmj_probe_result", "written") > 5000, what="5000 records")
        memory.set("vmj_control", "stop", 1)
        assert process.wait(timeout=20) == 0
    assert memory.number("vmj_probe_result", "state") == memory.constants["VMJ_RUN_DONE"]
    assert all(latency != 0 or tsc != 0 for latency, tsc in memory.samples(4096))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_with_a_summary(probe: str, number: signal.Signals) -> None:
    command = [probe, "--policy", "other", "-D", "1h"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        assert process.stdout
        process.stderr.readline()
        started = Path(f"/proc/{process.pid}/status")
        wait_until(lambda: _handles(started, number), what="the signal handler")
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert b"early, on request" in process.stdout.read()


def _handles(status: Path, number: signal.Signals) -> bool:
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    return found is not None and bool(int(found.group(1), 16) >> (number - 1) & 1)


def test_breaktrace(probe: str) -> None:
    done = run(probe, *OTHER, "-D", "1h", "-b", "1ns", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["threshold_hit"] is True


def test_histogram_is_cyclictests(probe: str, tmp_path: Path) -> None:
    result = measure(probe, "-l", "100", "-h", "100000", "--histfile", tmp_path / "hist")
    lines = (tmp_path / "hist").read_text().splitlines()
    buckets = [tuple(map(int, line.split())) for line in lines if not line.startswith("#")]
    assert lines[0] == "# Histogram"
    assert sum(count for _, count in buckets) == result["count"]
    assert max(bucket for bucket, _ in buckets) == result["max_ns"] // 1000
    assert f"# Max Latencies: {result['max_ns'] // 1000:05d}" in lines
    assert "# Histogram Overflows: 00000" in lines


def test_histogram_overflows_are_counted(probe: str) -> None:
    done = run(probe, *OTHER, "-l", "5", "-h", "1")
    overflows = re.search(r"# Histogram Overflows: (\d+)", done.stdout)
    buckets = sum(int(line.split()[1]) for line in done.stdout.splitlines() if line[:1] == "0")
    missed = re.search(r"overruns (\d+) of 5", done.stdout)
    assert overflows
    assert missed
    assert int(overflows.group(1)) + buckets + int(missed.group(1)) == 5


@pytest.mark.parametrize(
    "options",
    [
        ["-smp", "-p", "80", "-n"],
        ["extra"],
        ["--dur", "5"],
        ["-i", "fast"],
        ["-l", "0"],
        ["-p", "0"],
        ["--policy", "other", "-p", "80"],
        ["--shm", "x", "--raw", "y"],
    ],
)
def test_usage(probe: str, options: list[str]) -> None:
    done = run(probe, *options)
    assert done.returncode == 2
    assert done.stderr
    assert not done.stdout


def test_too_many_samples_names_the_remedy(probe: str) -> None:
    done = run(probe, *OTHER, "-i", "10", "-D", "10d")
    assert done.returncode == 1
    assert "--shm" in done.stderr


def test_memory_without_a_header_is_refused(probe: str, tmp_path: Path) -> None:
    (tmp_path / "zero").write_bytes(bytes(2 << 20))
    done = run(probe, *OTHER, "-l", "1", "--shm", tmp_path / "zero")
    assert done.returncode == 1
    assert "magic" in done.stderr


def test_real_time_needs_permission(probe: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("gives up root's permissions with setpriv; run the tests as root")
    done = run(
        "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", probe, "-l", "1"
    )
    if "setpriv:" in done.stderr:
        pytest.skip(
            f"cannot give up permissions here: {done.stderr.strip()}; run outside a sandbox"
        )
    assert done.returncode == 1
    assert "--no-mlockall" in done.stderr or "--policy other" in done.stderr


@pytest.mark.root
def test_real_time_is_read_back(probe: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("SCHED_FIFO needs permission; run the tests as root")
    done = run(probe, "-l", "50", "-p", "7", "-a", "0", "--json")
    if done.returncode == 1 and "Operation not permitted" in done.stderr:
        pytest.skip("no CAP_SYS_NICE here; run the tests outside the container")
    result = json.loads(done.stdout)
    assert (result["policy"], result["priority"], result["affinity"]) == ("fifo", 7, 1)


def test_layout_covers_every_byte(layout: dict[str, Any]) -> None:
    assert len(layout["structs"]) == 7
    for name, described in layout["structs"].items():
        at = 0
        for field, (offset, size) in described["fields"].items():
            assert offset == at, f"{name}.{field}: a field before it is not listed, or padding"
            at += size
        assert at == described["size"], name


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version(probe: str, option: str) -> None:
    done = run(probe, option)
    assert done.returncode == 0
    assert "probe" in done.stdout
