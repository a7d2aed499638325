"""The kinds of console, and interrupts, in real guests under TCG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from system.conftest import status, vmjitter, wait_for
from vmjitter.config.resolve import Choices, resolve
from vmjitter.effects.scratch import anonymous_memory, fd_path
from vmjitter.errors import GuestLost, GuestPanic, QemuDied
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.model.plan import Accel, Plan
from vmjitter.qemu.cmdline import Resources
from vmjitter.qemu.machine import QemuMachine
from vmjitter.session.guest_trial import machine_for
from vmjitter.session.prepare import guest_images
from vmjitter.tuning.guest_files import GuestFiles
from vmjitter.tuning.journal import Unwritten
from vmjitter.tuning.knob import Host
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.tuner import Tuner

pytestmark = pytest.mark.system

PLAN = """
[plan]
title = "one guest"
[probe]
loops = 500
[guest]
accel = "tcg"
vcpus = 2
[scenario.guest]
loads = ["sem"]
knobs = [{knobs}]
"""
HOST = Host(guest_cpus=frozenset({0}), other_cpus=frozenset({0}), accel=Accel.TCG, vcpus=2)
MESSAGE = "a message to be seen, or not"
KINDS = ("", "console-virtio", "console-none")


@dataclass(frozen=True, kw_only=True)
class Booted:
    machine: QemuMachine
    log: Path
    trace: Path

    def ask(self, *argv: str) -> str:
        return self.machine.agent.check(list(argv))

    def written(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def plan_with(directory: Path, *knobs: str) -> Plan:
    path = directory / "plan.toml"
    path.write_text(PLAN.format(knobs=", ".join(f'"{knob}"' for knob in knobs)))
    return resolve(str(path), Choices()).plan


@contextmanager
def booted(knob: str, directory: Path, append: str = "") -> Iterator[Booted]:
    """A guest without disk and network, with one knob on its command line."""
    plan = plan_with(directory, *([knob] if knob else []))
    (scenario,) = plan.scenarios
    image = guest_images(plan, lambda _: None)[scenario.name]
    machine = machine_for(plan, scenario, image, Accel.TCG)
    if knob:
        machine = KNOBS[knob].on_machine(machine, HOST)
    machine = type(machine)(**{**vars(machine), "append": f"{machine.append} {append}"})
    with ExitStack() as stack:
        shm_fd = stack.enter_context(anonymous_memory(SHM_BYTES))
        shm = stack.enter_context(SharedMemory(shm_fd))
        resources = Resources(
            console_log=directory / "console.log", qmp_fd=-1, bell_fd=-1,
            shm_path=fd_path(shm_fd), shm_bytes=SHM_BYTES, scratch_path=None, direct=False,
            tap_fd=None, vhost_fd=None, trace_log=directory / "trace.log",
        )  # fmt: skip
        log = directory / "qemu.log"
        qemu = QemuMachine(machine, resources, shm=shm, inherit=[shm_fd], qemu_log=log)
        stack.enter_context(qemu).wait_ready(plan.guest.boot_timeout_ns)
        yield Booted(machine=qemu, log=resources.console_log, trace=directory / "trace.log")
        qemu.power_off()


def test_a_message_of_the_kernel_takes_the_way_of_each_console(tmp_path: Path) -> None:
    consoles, ports, messages, accesses = {}, {}, {}, {}
    for kind in KINDS:
        directory = tmp_path / (kind or "serial")
        directory.mkdir()
        with booted(kind, directory) as guest:
            consoles[kind] = {line.split()[0] for line in _lines(guest, "/proc/consoles")}
            ports[kind] = [
                line.split(":")[0]
                for line in _lines(guest, "/proc/tty/driver/serial")[1:]
                if "uart:unknown" not in line
            ]
            accesses[kind] = _accesses_for_a_message(guest, shown=kind != "console-none")
            messages[kind] = guest.written().count(MESSAGE)
    assert consoles == {"": {"ttyS0"}, "console-virtio": {"tty0", "hvc0"}, "console-none": {"tty0"}}
    assert ports == {"": ["0", "1"], "console-virtio": ["0", "1"], "console-none": ["1"]}
    assert messages == {"": 1, "console-virtio": 1, "console-none": 0}
    # each is an exit under KVM: one for each byte, or for each 16, and to move a cursor
    text_bytes = len(f"[    3.000000] {MESSAGE}\r\n")
    kicks = -(-text_bytes // 16)
    assert accesses[""]["serial"] >= text_bytes
    assert accesses["console-virtio"] == {"serial": 0, "display": 4, "virtio": kicks}
    assert accesses["console-none"] == {"serial": 0, "display": 0, "virtio": 0}


def _accesses_for_a_message(guest: Booted, *, shown: bool) -> dict[str, int]:
    """Accesses to the ports of console and display, and kicks of virtio, for one message.

    The bell is at 0x2f8, and the guest has no other virtio device.
    """
    _trace(guest, on=True)
    guest.ask("sh", "-c", f"echo '<1>{MESSAGE}' >/dev/kmsg; sleep 1")
    if shown:  # on PREEMPT_RT a thread of the kernel writes it
        wait_for(lambda: f"{MESSAGE}\n" in guest.written().replace("\r", ""), 20)
        guest.machine.agent.pause(0.2)
    _trace(guest, on=False)
    lines = guest.trace.read_text().splitlines()
    return {
        "serial": sum("addr 0x3f" in line for line in lines),
        "display": sum("addr 0x3d" in line for line in lines),
        "virtio": sum("virtio_queue_notify" in line for line in lines),
    }


def _trace(guest: Booted, *, on: bool) -> None:
    for name in ("memory_region_ops_read", "memory_region_ops_write", "virtio_queue_notify"):
        guest.machine.qmp.execute("trace-event-set-state", name=name, enable=on)


def _lines(guest: Booted, path: str) -> list[str]:
    return guest.ask("cat", path).splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_a_panic_of_a_running_guest(kind: str, tmp_path: Path) -> None:
    with pytest.raises(GuestLost) as caught, booted(kind, tmp_path) as guest:
        guest.ask("sh", "-c", "echo c >/proc/sysrq-trigger")
    log = tmp_path / "console.log"
    assert log.exists() == (kind != "console-none")
    assert not log.exists() or "Kernel panic - not syncing: sysrq" in log.read_text()
    assert isinstance(caught.value, QemuDied if kind == "console-none" else GuestPanic)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_panic_before_the_driver_of_the_console_is_loaded(kind: str, tmp_path: Path) -> None:
    expected = QemuDied if kind == "console-none" else GuestPanic
    with pytest.raises(GuestLost) as caught, booted(kind, tmp_path, "rdinit=/none"):
        pass
    assert type(caught.value) is expected


def test_interrupts_of_the_guest_go_to_its_first_vcpu(tmp_path: Path) -> None:
    knob = KNOBS["guest-irq-affinity"]
    with booted("", tmp_path) as guest:
        files = GuestFiles(guest.machine.agent)
        tuner = Tuner(Unwritten(), {files.name: files})
        changes = files.expand(knob.on_guest())
        made = tuner.apply(knob.name, changes)
        found = guest.ask("sh", "-c", "cat /proc/irq/[0-9]*/smp_affinity_list").split()
        fresh = guest.ask("cat", "/proc/irq/default_smp_affinity").strip()
    assert len(made) + len(tuner.refused) == len(changes) > 10
    assert {one.read_back for one in made} <= {"0", "1"}
    assert {one.wanted for one in made if one.target == "/proc/irq/default_smp_affinity"} == {"1"}
    assert (found.count("0"), fresh) == (len(made) - 1, "1")
    # the guest's kernel keeps the one of its own timer
    assert [one for one in tuner.refused if one.startswith("/proc/irq/0/")]


def test_a_run_without_a_console_is_complete(tmp_path: Path) -> None:
    plan_with(tmp_path, "console-none", "guest-irq-affinity", "vhost-net")
    run = tmp_path / "run"
    done = vmjitter("run", str(tmp_path / "plan.toml"), "--output", str(run))
    assert done.returncode in {0, 4}, done.stderr
    assert status(run)["state"] == "done"
    found = status(run)
    assert "console=tty0" in found["guest_facts"]["cmdline"]
    moved = [one for one in found["knobs"] if one["knob"] == "guest-irq-affinity"]
    assert len(moved) > 10
    assert {one["after"] for one in moved} == {one["wanted"] for one in moved}
    kept = [one for one in found["deviations"] if one.startswith("guest-irq-affinity: ")]
    assert "places refused it, such as /proc/irq/0/" in kept[0]
    # what is missing for vhost-net is said once
    assert len([one for one in found["deviations"] if "vhost" in one]) <= 1
