"""A guest is measured while the host itself is busy, and nothing of that is left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from system.conftest import alive, descendants, samples, start, status, vmjitter, wait_for

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_left")]
PLAN = """
[probe]
loops = 2500
[guest]
accel = "tcg"
host_cpus = 1
[host_load.disk-rw]
rate = 10
[scenario.busy]
disk = "virtio"
loads = ["sem", "disk-rw"]
host_loads = ["cpu", "disk-rw", "udp"]
"""
TRIAL = "01-busy"


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A plan with a guest, loads in it and loads beside it."""
    path = tmp_path / "busy.toml"
    path.write_text(PLAN)
    return path


def _scratch(run_dir: Path) -> list[str]:
    return [path.name for path in run_dir.rglob(".scratch-*")]


def _of_the_host(pid: int) -> list[tuple[int, list[bytes]]]:
    """Process ids and command lines of the loads that vmjitter runs on the host."""
    found = []
    for child in descendants(pid):
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if words[0].endswith(b"load-x86_64"):
            found.append((child, words))
    return found


def test_both_sides_prove_that_they_ran(busy: Path, run_dir: Path) -> None:
    done = vmjitter("run", str(busy), "--output", str(run_dir))
    assert done.returncode == 0, done.stderr
    trial = status(run_dir, TRIAL)
    assert trial["invalid"] == []
    ran = {(load["side"], load["name"]): load for load in trial["loads"]}
    assert set(ran) == {
        ("guest", "sem"), ("guest", "disk-rw"), ("host", "cpu"), ("host", "disk-rw"),
        ("host", "udp-send"), ("host", "udp-recv"),
        ("host", "udp-send over lo (peer)"), ("host", "udp-recv over lo (peer)"),
    }  # fmt: skip
    assert all(load["ops"] > 0 for load in ran.values())
    assert ran["host", "disk-rw"]["rate_wanted"] == 10
    assert ran["guest", "disk-rw"]["rate_wanted"] == 20
    (condition,) = (text for text in trial["conditions"] if "host loads" in text)
    assert condition.startswith("host loads on CPU ")
    assert condition.endswith(": cpu, disk-rw, udp")
    report = vmjitter("report", str(run_dir), "--details")
    assert condition in " ".join(report.stdout.split())
    assert "cpu" in (run_dir / "trials" / TRIAL / "host-loads.log").read_text()
    assert _scratch(run_dir) == []


def test_a_load_that_dies_on_the_host_makes_the_trial_invalid(busy: Path, run_dir: Path) -> None:
    run = start("run", str(busy), "--loops", "6000", "--output", str(run_dir))
    wait_for(lambda: samples(run_dir, TRIAL) > 64 + 16 * 1000)
    usable = os.sched_getaffinity(0)
    loads = _of_the_host(run.pid)
    assert len(loads) == 4  # the other end of udp is one
    for pid, words in loads:
        assert os.sched_getaffinity(pid) == ({max(usable)} if len(usable) > 1 else usable)
        if words[1] == b"cpu":
            os.kill(pid, signal.SIGKILL)
    run.communicate(timeout=120)
    assert run.returncode == 4
    (reason,) = status(run_dir, TRIAL)["invalid"]
    assert reason.startswith("load cpu on the host died before the probe did")
    assert _scratch(run_dir) == []


def test_a_load_that_is_stopped_on_the_host_makes_the_trial_invalid(
    busy: Path, run_dir: Path
) -> None:
    run = start("run", str(busy), "--loops", "7000", "--output", str(run_dir))
    wait_for(lambda: samples(run_dir, TRIAL) > 64 + 16 * 1000)
    for pid, words in _of_the_host(run.pid):
        if words[1] == b"disk-rw":
            os.kill(pid, signal.SIGSTOP)
    run.communicate(timeout=120)
    assert run.returncode == 4
    reasons = " ".join(status(run_dir, TRIAL)["invalid"])
    assert "load disk-rw on the host stood still for" in reasons
    assert _scratch(run_dir) == []


def test_nothing_of_them_is_left_when_vmjitter_is_killed(busy: Path, run_dir: Path) -> None:
    run = start("run", str(busy), "--loops", "60000", "--output", str(run_dir))
    wait_for(lambda: samples(run_dir, TRIAL) > 64 + 16 * 300)
    children = descendants(run.pid)
    assert len(_of_the_host(run.pid)) == 4
    assert _scratch(run_dir) != []
    run.kill()
    run.communicate(timeout=60)
    wait_for(lambda: not any(alive(pid) for pid in children), 10)
    wait_for(lambda: _scratch(run_dir) == [], 10)
