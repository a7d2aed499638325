"""The simulated host, for real: commands in it, KVM guests in it, and runs that repeat exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from system.conftest import alive, command, descendants, environment, status, vmjitter, wait_for

pytestmark = pytest.mark.system

FUNCTIONAL = ("--bench", "sim", "--clock", "real", "--set", "sim.stall_timeout=200s")

# 64-bit, because QEMU's emulation of SVM does not bring 32-bit guests up
KVM_PLAN = """
[plan]
title = "every KVM path"
[probe]
loops = 1500
[guest]
kernel = "debian-rt-amd64"
[scenario.emulated]
disk = "ide"
network = "e1000"
loads = ["sem", "disk-rw", "udp"]
[scenario.paravirtual]
disk = "virtio"
network = "virtio"
vhost = true
knobs = ["qemu-fifo-max"]
loads = ["sem", "disk-rw", "udp"]
"""

VIRTUAL_PLAN = """
[plan]
title = "the same again"
[probe]
loops = 1200
[scenario.guest]
disk = "virtio"
network = "virtio"
vhost = true
knobs = ["qemu-fifo-max"]
loads = ["sem", "disk-sync", "udp"]
"""

LOOK_AROUND = """
uname -a
for node in /dev/kvm /dev/vhost-net /dev/net/tun; do ls -l $node; done
cat /sys/devices/system/cpu/online
ls /sys/kernel/tracing/events | grep -c -x -E 'kvm|sched|irq|timer'
python3 -c '
import subprocess
from vmjitter.effects.net import tap_wire
with tap_wire(delay_ns=20_000) as wire:
    enter = f"nsenter --net=/proc/$PPID/fd/{wire.netns_fd} cat /proc/net/dev"
    print(subprocess.run(["sh", "-c", enter], capture_output=True, text=True).stdout)
'
echo to standard error >&2
exit 7
"""


@pytest.fixture(scope="module")
def around() -> subprocess.CompletedProcess[str]:
    """What one booted host says about itself; shared, because booting is what takes time."""
    arguments = ("--clock", "real", "--set", "sim.cpus=3", "--", "sh", "-c", LOOK_AROUND)
    return vmjitter("sim", "exec", *arguments)


def test_a_command_passes_on_output_and_status(around: subprocess.CompletedProcess[str]) -> None:
    assert around.returncode == 7, around.stderr
    assert "Linux simulated-host" in around.stdout
    assert around.stderr == "to standard error\n"


def test_the_host_has_kvm_vhost_tap_and_tracers(around: subprocess.CompletedProcess[str]) -> None:
    lines = around.stdout.splitlines()
    assert [line.split()[-1] for line in lines[1:4]] == [
        "/dev/kvm",
        "/dev/vhost-net",
        "/dev/net/tun",
    ]
    assert lines[4:6] == ["0-2", "4"]


def test_a_delayed_wire_has_a_second_device_for_what_comes_in(
    around: subprocess.CompletedProcess[str],
) -> None:
    devices = {line.partition(":")[0].strip() for line in around.stdout.splitlines() if ":" in line}
    assert {"vmjtap0", "vmjifb0"} <= devices


def test_everything_is_in_the_cache_the_second_time(tmp_path: Path) -> None:
    first = vmjitter("sim", "build", "--json")
    if os.geteuid() == 0:
        offline = vmjitter("sim", "build", "--json", prefix=["unshare", "--net"])
    else:
        offline = vmjitter("sim", "build", "--json", prefix=["unshare", "-r", "--net"])
    assert (offline.returncode, json.loads(offline.stdout)) == (0, json.loads(first.stdout))
    assert tmp_path.exists()


def test_doctor_says_what_is_there() -> None:
    done = vmjitter("sim", "doctor", "--json")
    findings = {finding["id"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0
    assert findings["build"]["ok"]
    assert "bochs" in findings["build"]["evidence"]


def test_kvm_guests_with_vhost_and_real_time_priority(tmp_path: Path) -> None:
    plan = tmp_path / "kvm.toml"
    plan.write_text(KVM_PLAN)
    run = tmp_path / "run"
    done = vmjitter("run", str(plan), *FUNCTIONAL, "--json", "--output", str(run))
    trials = {trial["scenario"]: trial for trial in json.loads(done.stdout)["trials"]}
    for trial in trials.values():
        assert trial["accel"] == "kvm"
        assert trial["count"] + trial["overruns"] == 1500
        assert trial["deviations"] == []
        assert any("times mean nothing" in text for text in trial["conditions"])
    paravirtual = trials["paravirtual"]
    assert "virtio-net with vhost-net" in paravirtual["conditions"]
    assert paravirtual["knobs"]
    assert all(knob["read_back"] == "fifo 99" for knob in paravirtual["knobs"])
    argv = status(run, "02-paravirtual")["qemu_command"]
    assert any("vhost=on" in word for word in argv)


def _virtual(plan: Path, output: Path, settings: Sequence[str] = ()) -> Path:
    """A run in virtual time; returns its samples."""
    arguments = [word for setting in settings for word in ("--set", setting)]
    done = vmjitter(
        *("run", str(plan), "--bench", "sim", "--output", str(output), "--json", "-j", "1"),
        *("--set", "sim.stall_timeout=300s", *arguments),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return output / "trials/01-guest/samples.parquet"


@pytest.mark.parametrize("cpus", [1, 2])
def test_the_same_seed_gives_the_same_samples(tmp_path: Path, cpus: int) -> None:
    plan = tmp_path / "same.toml"
    plan.write_text(VIRTUAL_PLAN)
    settings = [f"sim.cpus={cpus}", f"probe.loops={1200 if cpus == 1 else 1100}"]
    with ThreadPoolExecutor(2) as pool:
        tasks = [
            pool.submit(_virtual, plan, tmp_path / name, settings) for name in ("first", "second")
        ]
        first, second = (task.result() for task in tasks)
    assert first.read_bytes() == second.read_bytes()


def test_interrupted_it_keeps_what_was_measured(tmp_path: Path) -> None:
    plan = tmp_path / "long.toml"
    plan.write_text(KVM_PLAN.replace("1500", "60000"))
    run = tmp_path / "run"
    words = ("run", str(plan), *FUNCTIONAL, "--only", "emulated", "--output", str(run))
    running = subprocess.Popen(
        command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    samples = run / "trials/01-emulated/samples.raw"
    wait_for(lambda: samples.exists() and samples.stat().st_size > 64 + 16 * 200, 200)
    family = descendants(running.pid)
    assert family
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: not any(alive(pid) for pid in family), 20)
    wait_for(lambda: not list(run.glob(".sim-*")), 20)
    shown = vmjitter("report", str(run))
    assert shown.returncode == 4
    assert "of 60000" in shown.stdout


def test_a_simulator_that_is_killed_is_repeated_and_said(tmp_path: Path) -> None:
    plan = tmp_path / "kvm.toml"
    plan.write_text(KVM_PLAN)
    run = tmp_path / "run"
    words = ("run", str(plan), *FUNCTIONAL, "--only", "emulated", "--output", str(run), "--json")
    running = subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    wait_for(lambda: bool(_simulators(running.pid)), 60)
    time.sleep(1)
    os.kill(_simulators(running.pid)[0], signal.SIGKILL)
    output, _ = running.communicate(timeout=300)
    (trial,) = json.loads(output)["trials"]
    assert trial["count"] + trial["overruns"] == 1500
    assert len(trial["repeated"]) == 1
    assert trial["repeated"][0].startswith("lost: the simulated host ended")


def _simulators(pid: int) -> list[int]:
    found = []
    for child in descendants(pid):
        try:
            argv = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qemu-system" in argv[0] and b"tcg,thread=multi" in argv:
            found.append(child)
    return found


def test_a_shell_needs_a_terminal() -> None:
    done = vmjitter("sim", "shell")
    assert done.returncode == 2
    assert "vmjitter sim exec" in done.stderr


def test_the_shell_on_a_terminal() -> None:
    reader, writer = os.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "vmjitter", "sim", "shell", "--clock", "real"],
        stdin=writer, stdout=writer, stderr=writer, env=environment(), start_new_session=True,
    )  # fmt: skip
    os.close(writer)
    seen = b""
    with os.fdopen(reader, "r+b", buffering=0) as terminal:
        while b"# " not in seen:
            seen += terminal.read(4096)
        terminal.write(b"echo $((6 * 7)) in $(hostname); exit 3\n")
        # the end of a terminal is an error; it comes after all that was written (pty(7))
        with suppress(OSError):
            while True:
                seen += terminal.read(4096)
    assert running.wait(30) == 3
    assert b"42 in simulated-host" in seen
