"""Guests that do not boot, panic, die or hang; users who interrupt or kill: each ends in order."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from system.conftest import alive, descendants, samples, start, status, vmjitter, wait_for
from vmjitter.bench.local import run_plan
from vmjitter.config.resolve import Choices, resolve
from vmjitter.errors import GuestHang
from vmjitter.session import measure
from vmjitter.session.progress import Progress

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_left")]
RECORDED = 64 + 16 * 300
"""Size of a raw file with some hundred samples."""


def _left_nothing(run: Path) -> None:
    names = [path.name for path in run.rglob("*")]
    assert [name for name in names if "scratch" in name or name.endswith(".tmp")] == []


def _plain(text: str) -> str:
    """A table's text with its groups of three digits joined and its line breaks gone."""
    joined = re.sub(r"(?<=\d)[\u00a0\u202f,](?=\d{3})", "", text)
    return " ".join(joined.split())


def test_a_guest_that_does_not_boot_in_time(plan: Path, run_dir: Path) -> None:
    done = vmjitter(
        "run", str(plan), "--only", "bare", "--set", "guest.boot_timeout=1s",
        "--set", "guest.append=loglevel=7", "--output", str(run_dir),
    )  # fmt: skip
    assert done.returncode == 1
    assert "the guest was not ready 1 s after QEMU's start" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert status(run_dir, "01-bare")["state"] == "failed"
    _left_nothing(run_dir)


def test_a_guest_that_panics(plan: Path, run_dir: Path) -> None:
    done = vmjitter(
        "run", str(plan), "--only", "bare", "--set", "guest.append=rdinit=/none",
        "--output", str(run_dir),
    )  # fmt: skip
    assert done.returncode == 1
    assert "the guest's kernel panicked" in done.stderr
    assert "Kernel panic - not syncing" in done.stderr  # the tail of the console
    assert "Kernel panic" in status(run_dir, "01-bare")["error"]


def test_qemu_that_refuses_to_start(
    plan: Path, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / "bin" / "qemu-system-x86_64"
    qemu.parent.mkdir()
    qemu.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo QEMU 0 && exit\n'
        'echo "-machine: unsupported machine type" >&2; exit 1\n'
    )
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{qemu.parent}:{os.environ['PATH']}")
    done = vmjitter("run", str(plan), "--only", "bare", "--output", str(run_dir))
    assert done.returncode == 1
    assert "QEMU ended with status 1 while the guest was needed" in done.stderr
    assert "unsupported machine type" in done.stderr
    assert "Traceback" not in done.stderr


def test_qemu_that_dies_while_measuring(plan: Path, run_dir: Path) -> None:
    run = start("run", str(plan), "--only", "guest", "--loops", "60000", "--output", str(run_dir))
    wait_for(lambda: samples(run_dir) > RECORDED)
    qemu = [pid for pid in descendants(run.pid) if "qemu" in Path(f"/proc/{pid}/comm").read_text()]
    os.kill(qemu[0], signal.SIGKILL)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "QEMU ended by signal 9 while the guest was needed" in errors
    trial = status(run_dir)
    assert trial["state"] == "failed"
    assert trial["recorded"] >= 300
    report = vmjitter("report", str(run_dir))
    assert report.returncode == 4
    assert f"incomplete: {trial['recorded']} of 60000" in _plain(report.stdout)
    _left_nothing(run_dir)


def test_a_guest_that_hangs(plan: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "HANG_S", 2.0)
    stopped: list[int] = []

    def stop_qemu(progress: Progress) -> None:
        if progress.recorded > 300 and not stopped:
            stopped.extend(
                pid
                for pid in descendants(os.getpid())
                if "qemu" in Path(f"/proc/{pid}/comm").read_text()
            )
            os.kill(stopped[0], signal.SIGSTOP)

    resolved = resolve(str(plan), Choices(only=["bare"], assignments=["probe.loops=60000"]))
    with pytest.raises(GuestHang, match="recorded nothing for 2 s after activation"):
        run_plan(resolved, run_dir, say=lambda _: None, report=stop_qemu)
    assert not alive(stopped[0])
    assert status(run_dir, "01-bare")["recorded"] > 300


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "TERM")])
def test_interrupted_by_the_user(
    plan: Path, run_dir: Path, number: signal.Signals, name: str
) -> None:
    run = start("run", str(plan), "--only", "guest", "--loops", "60000", "--output", str(run_dir))
    wait_for(lambda: samples(run_dir) > RECORDED)
    children = descendants(run.pid)
    assert children, name
    run.send_signal(number)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    wait_for(lambda: not any(alive(pid) for pid in children), 10)
    assert status(run_dir)["state"] == "interrupted"
    assert vmjitter("report", str(run_dir)).returncode == 4
    _left_nothing(run_dir)


def test_killed_in_the_middle(plan: Path, run_dir: Path) -> None:
    run = start("run", str(plan), "--only", "guest", "--loops", "60000", "--output", str(run_dir))
    wait_for(lambda: samples(run_dir) > RECORDED)
    children = descendants(run.pid)
    run.kill()
    run.communicate(timeout=60)
    wait_for(lambda: not any(alive(pid) for pid in children), 10)
    measured = (samples(run_dir) - 64) // 16
    report = vmjitter("report", str(run_dir))
    assert report.returncode == 4
    assert "Traceback" not in report.stderr
    assert f"incomplete: {measured} of 60000" in _plain(report.stdout)
    assert "Measured under TCG" in _plain(report.stdout)
    _left_nothing(run_dir)


def test_a_load_that_dies_makes_the_trial_invalid(tmp_path: Path, run_dir: Path) -> None:
    plan = tmp_path / "native.toml"
    plan.write_text(
        '[probe]\nloops = 8000\npolicy = "other"\n'
        '[scenario.bare]\nwhere = "host"\nloads = ["sem", "timer"]\n'
    )
    run = start("run", str(plan), "--output", str(run_dir))
    wait_for(lambda: samples(run_dir, "01-bare") > 64 + 16 * 2500)
    for pid in descendants(run.pid):
        if b"\0sem\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    run.communicate(timeout=60)
    assert run.returncode == 4
    reasons = " ".join(status(run_dir, "01-bare")["invalid"])
    assert "load sem on the host died before the probe did" in reasons
    assert "timer" not in reasons
    report = vmjitter("report", str(run_dir))
    assert report.returncode == 4
    assert "INVALID load sem on the host died" in _plain(report.stdout)


def test_an_existing_run_is_never_overwritten(plan: Path, run_dir: Path) -> None:
    run_dir.mkdir()
    (run_dir / "precious").write_text("data")
    done = vmjitter("run", str(plan), "--only", "bare", "--output", str(run_dir))
    assert done.returncode == 2
    assert "not an empty directory" in done.stderr
    assert [path.name for path in run_dir.iterdir()] == ["precious"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk: run as root")
def test_a_full_disk_keeps_what_was_measured(plan: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(small)], check=True)
    try:
        done = vmjitter(
            "run", str(plan), "--only", "bare", "--loops", "200000", "--interval", "200us",
            "--output", str(small / "run"),
        )  # fmt: skip
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert f"cannot write {small / 'run'}" in done.stderr  # whichever file met it first
        assert "Traceback" not in done.stderr
        report = vmjitter("report", str(small / "run"), "--no-figures", "--no-html", "--json")
        (trial,) = json.loads(report.stdout)["trials"]
        assert trial["recorded"] > 10_000
        assert not trial["valid"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_kvm_on_request_works_or_is_refused_with_the_reason(plan: Path, run_dir: Path) -> None:
    done = vmjitter(
        "run", str(plan), "--only", "bare", "--loops", "300", "--set", "guest.accel=kvm",
        "--output", str(run_dir),
    )  # fmt: skip
    if done.returncode == 0:
        assert status(run_dir, "01-bare")["accel"] == "kvm"
    else:
        assert "KVM was asked for and does not work here" in done.stderr
        assert "hint: leave guest.accel at auto" in done.stderr
