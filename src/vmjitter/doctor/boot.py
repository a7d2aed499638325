"""A guest that is booted only to be looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vmjitter.doctor.kernel_view import KernelView
from vmjitter.effects.scratch import anonymous_memory, fd_path
from vmjitter.errors import UsageError
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.model.plan import Accel, Disk, Network, Plan, Where
from vmjitter.qemu.cmdline import Resources
from vmjitter.qemu.machine import QemuMachine
from vmjitter.session.guest_side import GuestSide
from vmjitter.session.guest_trial import machine_for
from vmjitter.session.prepare import prepare_guest

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Booted:
    """A running guest.

    Attributes:
        accel_reason: why it does not run under KVM; empty if it does, or was not to.
        pid: of QEMU.
    """

    view: KernelView
    kernel: str
    accel: Accel
    accel_reason: str
    pid: int


@contextmanager
def booted(plan: Plan, say: Say) -> Iterator[Booted]:
    """Boot the guest of a plan without its devices, as long as the context lasts.

    Raises:
        UsageError: no scenario of the plan has a guest.
        MissingCapability: QEMU, the guest's kernel or a native program is missing.
        GuestLost: it did not come up.
    """
    scenario = next((one for one in plan.scenarios if one.where is Where.GUEST), None)
    if scenario is None:
        raise UsageError(f"the plan {plan.name} has no guest", hint="use a plan with a guest")
    bare = replace(scenario, disk=Disk.NONE, network=Network.NONE, vhost=False, loads=(), knobs=())
    plan = replace(plan, scenarios=(bare,))
    guest = prepare_guest(plan, say)
    assert guest is not None  # there is a scenario with one
    image = guest.images[bare.name]
    say(f"booting {image.kernel.release} under {guest.accel.value}")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmjitter-")))
        shm_fd = stack.enter_context(anonymous_memory(SHM_BYTES))
        shm = stack.enter_context(SharedMemory(shm_fd))
        qemu = QemuMachine(
            machine_for(plan, bare, image, guest.accel),
            _resources(directory, shm_fd),
            shm=shm,
            inherit=[shm_fd],
            qemu_log=directory / "qemu.log",
        )
        stack.enter_context(qemu)
        qemu.wait_ready(plan.guest.boot_timeout_ns)
        log = directory / "console.log"
        GuestSide(qemu, shm, log, address="", peer="", free_cpus=frozenset()).settle()
        yield Booted(
            view=KernelView(reader=lambda path: _read(qemu, path)),
            kernel=image.kernel.release,
            accel=guest.accel,
            accel_reason=guest.accel_reason,
            pid=qemu.child.pid,
        )
        qemu.power_off()


def _read(qemu: QemuMachine, path: str) -> str | None:
    reply = qemu.agent.call("run", "cat", path)
    return reply.text.strip() if reply.status == 0 else None


def _resources(directory: Path, shm_fd: int) -> Resources:
    return Resources(
        console_log=directory / "console.log",
        qmp_fd=-1,
        bell_fd=-1,
        shm_path=fd_path(shm_fd),
        shm_bytes=SHM_BYTES,
        scratch_path=None,
        direct=False,
        tap_fd=None,
        vhost_fd=None,
    )
