"""The doctor on this machine as it is: the host, a QEMU that runs, a guest from inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from system.conftest import environment, vmjitter
from vmjitter.config.resolve import Choices, resolve
from vmjitter.doctor.boot import Booted, booted

pytestmark = pytest.mark.system


def _doctor(*arguments: str) -> dict[str, Any]:
    done = vmjitter("doctor", "--json", *arguments)
    assert done.returncode in {0, 3, 4}, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    worst = {"ok": 0, "note": 0, "warning": 3, "problem": 3, "blocker": 4}[data["worst"]]
    assert done.returncode == worst
    return data


def _by_id(data: dict[str, Any]) -> dict[str, Any]:
    return {one["id"]: one for one in data["findings"]}


@pytest.fixture(scope="module")
def guest() -> Iterator[Booted]:
    assignments = ("guest.accel=tcg",)
    plan = resolve("paper", Choices(environ=os.environ, assignments=assignments)).plan
    with booted(plan, lambda _: None) as running:
        yield running


def test_the_host_as_it_is() -> None:
    data = _doctor()
    found = _by_id(data)
    assert data["subject"] == "host"
    assert os.uname().release in found["preempt-rt"]["evidence"]
    runtime = Path("/proc/sys/kernel/sched_rt_runtime_us").read_text().strip()
    assert f"sched_rt_runtime_us = {runtime}" in found["realtime-throttling"]["evidence"]
    if not Path("/dev/kvm").exists():
        assert found["kvm"]["severity"] == "blocker"
    else:
        words = ("/dev/kvm: ", "KVM_CREATE_VM: ")
        assert (found["kvm"]["severity"] == "ok") is (
            found["kvm"]["evidence"] == "/dev/kvm: KVM_CREATE_VM succeeded"
        )
        assert found["kvm"]["evidence"].startswith(words)


_AS_NOBODY = """
import contextlib, io, os, sys
from vmjitter.cli import run
with contextlib.redirect_stdout(io.StringIO()):
    run(["doctor", "--json"])  # imports everything, before the checkout becomes unreadable
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(run(["doctor", "--json"]))
"""


@pytest.mark.root
def test_the_host_for_an_ordinary_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("run the tests as root to become somebody else")
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode in {0, 3, 4}, done.stderr
    data = json.loads(done.stdout)
    unknown = {one["id"]: one["why"] for one in data["unknown"]}
    assert "root" in unknown["realtime-policy"]
    assert "trace-events" in {*unknown, *_by_id(data)}


def test_a_qemu_that_runs(guest: Booted) -> None:
    data = _doctor("--vm", str(guest.pid))
    found = _by_id(data)
    assert data["subject"] == f"QEMU {guest.pid}"
    assert found["vm-accelerator"]["severity"] == "blocker"
    assert found["vm-accelerator"]["evidence"] == "threads: CPU 0/TCG"
    assert found["vm-console"]["severity"] in {"note", "warning"}
    assert found["vm-vcpus-realtime"]["evidence"].startswith("CPU 0/TCG (")
    assert found["vm-thread-names"]["severity"] == "ok"
    assert found["vm-spare-devices"]["severity"] == "ok"
    assert "VmLck" in found["vm-swap"]["evidence"]


@pytest.mark.root
def test_a_vcpu_that_starves_the_main_loop_is_found(guest: Booted) -> None:
    if os.geteuid() != 0:
        pytest.skip("run the tests as root to set a real-time policy")
    cpu = max(os.sched_getaffinity(guest.pid))
    tids = [int(path.name) for path in Path(f"/proc/{guest.pid}/task").iterdir()]
    before = {tid: os.sched_getaffinity(tid) for tid in tids}
    vcpu = next(t for t in tids if "CPU 0" in Path(f"/proc/{guest.pid}/task/{t}/comm").read_text())
    try:
        for tid in tids:
            os.sched_setaffinity(tid, {cpu})
        # round robin, the weakest; the guest is idle, so nothing is starved for real
        os.sched_setscheduler(vcpu, os.SCHED_RR, os.sched_param(1))
        found = _by_id(_doctor("--vm", str(guest.pid)))["vm-main-loop-starved"]
    finally:
        os.sched_setscheduler(vcpu, os.SCHED_OTHER, os.sched_param(0))
        for tid, cpus in before.items():
            os.sched_setaffinity(tid, cpus)
    assert found["severity"] == "blocker"
    assert f"CPU 0/TCG ({vcpu}): rr 1, CPUs {cpu}" in found["evidence"]
    assert found["knob"] == "emulator-pin"


def test_a_guest_from_inside(guest: Booted) -> None:
    assert guest.view.release == guest.kernel
    assert guest.view.read("/nowhere") is None
    assert guest.view.online == {0}


def test_a_guest_is_booted_looked_at_and_gone() -> None:
    data = _doctor("--guest", "--set", "guest.accel=tcg")
    found = _by_id(data)
    assert data["subject"].endswith("under tcg")
    assert found["guest-preempt-rt"]["severity"] == "ok"
    assert found["guest-realtime-throttling"]["severity"] == "problem"
    assert "tsc-early" not in found["guest-clocksource"]["evidence"]


def test_looking_is_fast() -> None:
    begin = time.process_time()
    before = os.times()
    _doctor()
    after = os.times()
    used = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    assert used < 3  # CPU time with the start of Python; 2 s of real time on an idle machine
    assert time.process_time() - begin < 1


_IN_SIMULATED_HOST = """
import json
from vmjitter.doctor.check import diagnose
from vmjitter.doctor.checks import HOST_CHECKS
from vmjitter.doctor.probe import look
print(json.dumps(diagnose("host", HOST_CHECKS, look()).as_data()))
"""


def test_the_simulated_host_as_it_is() -> None:
    """It has what this machine may lack: SVM with nested page tables, vhost-net, trace events."""
    program = ("python3", "-c", _IN_SIMULATED_HOST)
    done = vmjitter("sim", "exec", "--clock", "real", "--", *program)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    found = _by_id(data)
    assert found["kvm-kind"]["title"] == "KVM is SVM (AMD)"
    for name in ("kvm", "second-level-paging", "vhost-net", "tap", "trace-events", "cpu-count"):
        assert found[name]["severity"] == "ok", found[name]
    assert found["vhost-worker"]["title"] == "vhost's worker is a thread of the kernel"
    assert found["nested-host"]["severity"] == "problem"
    # the kernel's configuration is in /boot
    assert [one["id"] for one in data["unknown"] if "configuration" in one["why"]] == []
    assert "from Linux 6.1." in found["kernel-eevdf-starvation"]["evidence"]
