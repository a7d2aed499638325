"""A real guest is booted, loaded and measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from system.conftest import status, vmjitter

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_left")]


def test_a_run_from_plan_to_report(plan: Path, run_dir: Path) -> None:
    done = vmjitter("run", str(plan), "--output", str(run_dir), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    guest, bare = result["trials"]
    assert (guest["scenario"], bare["scenario"]) == ("guest", "bare")
    for trial in (guest, bare):
        assert trial["valid"], trial["invalid"]
        assert trial["count"] + trial["overruns"] == 1500
        assert 0 < trial["min_ns"] <= trial["p50_ns"] <= trial["max_ns"]
    loads = {load["name"]: load for load in guest["loads"]}
    assert set(loads) == {
        "sem", "disk-rw", "udp-send", "udp-recv", "udp-send (peer)", "udp-recv (peer)"
    }  # fmt: skip
    assert all(load["rate"] > 0 for load in loads.values())
    _check_files(run_dir)
    _check_proofs(status(run_dir))
    again = vmjitter("report", str(run_dir), "--json")
    assert json.loads(again.stdout)["trials"] == result["trials"]


def _check_files(run: Path) -> None:
    for line in (run / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((run / name).read_bytes()).hexdigest() == digest, name
    table = pq.read_table(run / "trials/01-guest/samples.parquet")
    assert table.num_rows == 1500
    assert (run / "figures/latency-guest.png").stat().st_size > 10_000
    assert (run / "figures/latency-guest.svg").exists()
    assert "loops = 1500  # quick.toml:5" in (run / "plan.toml").read_text()


def _check_proofs(trial: dict[str, object]) -> None:
    probe = trial["probe"]
    assert isinstance(probe, dict)
    assert (probe["policy"], probe["priority"]) == ("fifo", 80)
    assert probe["mlocked"]
    assert probe["minflt"] == probe["majflt"] == 0
    assert probe["clocksource_before"] == probe["clocksource_after"] != ""
    before, after = trial["clock_before"], trial["clock_after"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert 0 < before["bound_ns"] < 10_000_000
    # both offsets are of the same two clocks; TCG's TSC may drift a little
    assert abs(before["offset_ns"] - after["offset_ns"]) < 100_000_000
    facts = trial["guest_facts"]
    assert isinstance(facts, dict)
    assert "PREEMPT_RT" in facts["kernel"]
    assert facts["realtime"] == "1"
    assert any("TCG" in condition for condition in trial["conditions"])  # type: ignore[attr-defined]


def test_without_privileges_it_measures_and_says_what_is_missing(run_dir: Path) -> None:
    # uid 0 without any capability: neither tap nor real-time priority
    prefix = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    done = vmjitter(
        "run", "paper", "--only", "kernel-io-mitigated", "--loops", "1500",
        "--set", "guest.accel=tcg", "--output", str(run_dir), prefix=prefix,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trial = status(run_dir, "01-kernel-io-mitigated")
    text = " ".join(trial["deviations"])
    assert "user-mode network instead of tap" in text
    assert "virtio-net without vhost-net" in text
    assert "without qemu-fifo-max: no watchdog can stand above it, refused" in text
    assert trial["knobs"] == []
    rates = {load["name"]: load["ops"] for load in trial["loads"]}
    assert rates["udp-recv"] > 0
    assert rates["udp-recv (peer)"] > 0
    for words in ("user-mode network", "qemu-fifo-max", "virtio-net"):
        assert words in done.stdout


def test_native_needs_a_real_time_policy_or_says_so(run_dir: Path) -> None:
    prefix = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    done = vmjitter(
        "run", "paper", "--only", "native", "--loops", "500", "--output", str(run_dir),
        prefix=prefix,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the probe failed on the host" in done.stderr
    assert "Traceback" not in done.stderr
    other = vmjitter(
        "run", "paper", "--only", "native", "--loops", "500", "--set", "probe.policy=other",
        "--output", str(run_dir) + "-2", prefix=prefix,
    )  # fmt: skip
    assert other.returncode in (0, 4), other.stderr
    trial = status(Path(str(run_dir) + "-2"), "01-native")
    assert trial["probe"]["policy"] == "other"


def test_a_deadline_decides_the_exit_status(plan: Path, run_dir: Path) -> None:
    missed = vmjitter(
        "run", str(plan), "--only", "bare", "--loops", "500", "--deadline", "1ns",
        "--output", str(run_dir), "--json",
    )  # fmt: skip
    assert missed.returncode == 3
    (trial,) = json.loads(missed.stdout)["trials"]
    assert trial["misses"] == 500
    held = vmjitter(
        "run", str(plan), "--only", "bare", "--loops", "500", "--deadline", "1h",
        "--output", str(run_dir) + "-2", "--json",
    )  # fmt: skip
    (trial,) = json.loads(held.stdout)["trials"]
    assert held.returncode == (3 if trial["overruns"] else 0)


def test_64_bit_guests_work_as_well(plan: Path, run_dir: Path) -> None:
    done = vmjitter(
        "run", str(plan), "--only", "guest", "--loops", "500", "--output", str(run_dir),
        "--set", "guest.kernel=debian-cloud-amd64",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "x86_64" in status(run_dir)["guest_facts"]["kernel"]


def test_a_kernel_of_the_users_own(plan: Path, run_dir: Path) -> None:
    built = json.loads(vmjitter("guest", "build", "debian-rt-i386", "--json").stdout)
    kernel = Path(built["kernel"])
    modules = kernel.parent.parent / "lib/modules" / built["release"]
    done = vmjitter(
        "run", str(plan), "--only", "bare", "--loops", "300", "--output", str(run_dir),
        "--kernel", str(kernel), "--modules", str(modules),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((run_dir / "run.json").read_text())["qemu"]["kernel"] == "custom"
