"""A guest whose disk is served by a process of its own, and what happens when that one ends."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from system.conftest import alive, descendants, samples, start, status, vmjitter, wait_for

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_left")]
RECORDED = 64 + 16 * 300
"""Size of a raw file with some hundred samples."""
OUTSIDE = """
[probe]
loops = 1500
[guest]
accel = "tcg"
[load.disk-rw]
rate = 5
[scenario.guest]
disk = "virtio"
loads = ["disk-rw", "sem"]
knobs = ["vhost-user-blk"]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "outside.toml"
    path.write_text(OUTSIDE)
    return path


def daemons(pid: int) -> list[int]:
    """Process ids of the storage daemons below a process; not of their wrappers."""
    return [one for one in descendants(pid) if exe(one) == "qemu-storage-daemon"]


def exe(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def test_the_guests_disk_works_and_qemu_has_no_image(plan: Path, run_dir: Path) -> None:
    done = vmjitter("run", str(plan), "--set", "guest.vcpus=2", "--output", str(run_dir))
    assert done.returncode in {0, 4}, done.stderr
    found = status(run_dir)
    assert found["deviations"] == []
    assert "disk served by qemu-storage-daemon, by vhost-user" in found["conditions"]
    assert found["invalid"] == [], "the loads ran"
    words = found["qemu_command"]
    assert "vhost-user-blk-pci,chardev=storage,num-queues=2" in words
    assert "memory-backend-memfd,id=ram,size=1024M,share=on" in words
    assert not [word for word in words if "virtio-blk" in word or "scratch" in word]
    log = (run_dir / "trials/01-guest/storage-daemon.log").read_text().splitlines()
    assert "--export type=vhost-user-blk" in log[0]
    assert log[1:] == []
    meta = json.loads((run_dir / "trials/01-guest/trace/meta.json").read_text())
    roles = [one["role"] for one in meta["threads"].values()]
    assert "storage daemon" in roles
    assert "main loop" in roles


def test_a_daemon_that_is_killed_ends_the_trial_with_one_error(plan: Path, run_dir: Path) -> None:
    run = start("run", str(plan), "--loops", "60000", "--output", str(run_dir))
    wait_for(lambda: samples(run_dir) > RECORDED)
    children = descendants(run.pid)
    [daemon] = daemons(run.pid)
    os.kill(daemon, signal.SIGKILL)
    killed = time.monotonic()
    _, errors = run.communicate(timeout=60)
    assert time.monotonic() - killed < 20
    assert run.returncode == 1
    said = "qemu-storage-daemon, which served the guest's disk, ended by signal 9 while the guest"
    assert errors.count(said) == 1
    assert "Traceback" not in errors
    wait_for(lambda: not any(alive(pid) for pid in children), 10)
    trial = status(run_dir)
    assert trial["state"] == "failed"
    assert said in trial["error"]
    assert trial["recorded"] >= 300
    assert [path.name for path in run_dir.rglob("*") if "scratch" in path.name] == []


def test_a_daemon_dies_with_us(plan: Path, run_dir: Path) -> None:
    run = start("run", str(plan), "--loops", "60000", "--output", str(run_dir))
    wait_for(lambda: samples(run_dir) > RECORDED)
    children = descendants(run.pid)
    assert len(daemons(run.pid)) == 1
    run.kill()
    run.communicate(timeout=60)
    wait_for(lambda: not any(alive(pid) for pid in children), 10)


def test_a_daemon_that_refuses_to_start(
    plan: Path, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "qemu-storage-daemon"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "no such export" >&2; exit 3\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    done = vmjitter("run", str(plan), "--output", str(run_dir))
    assert done.returncode == 1
    assert "qemu-storage-daemon, which served the guest's disk, ended with status 3" in done.stderr
    assert "no such export" in done.stderr
    assert "hint: leave the knob vhost-user-blk out" in done.stderr
    assert "Traceback" not in done.stderr
