"""A scenario inside a guest: boot, prepare, knobs, measure, power off."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from vmjitter.effects.net import GUEST_ADDRESS
from vmjitter.effects.process import split_cpus
from vmjitter.effects.scratch import fd_path
from vmjitter.errors import MissingCapability
from vmjitter.guest.image import GuestImage
from vmjitter.guest.shm import SHM_BYTES
from vmjitter.loads.catalog import LOADS
from vmjitter.model.plan import Accel, Disk, Network, Plan, Scenario
from vmjitter.qemu.cmdline import USER_NET, Machine, Resources
from vmjitter.qemu.machine import QemuMachine
from vmjitter.qemu.storage_daemon import StorageDaemon
from vmjitter.session.context import Guest, TrialContext
from vmjitter.session.guest_side import GuestSide
from vmjitter.session.inject import injecting, monitor_pair
from vmjitter.session.loads_beside import loads_beside
from vmjitter.session.measure import Measurement
from vmjitter.session.outcome import Outcome
from vmjitter.session.progress import Progress
from vmjitter.session.resources import (
    Link,
    endpoint,
    network_link,
    scratch_image,
    start_peer,
)
from vmjitter.session.tracing import Recorder
from vmjitter.session.tuning import Tuning

STORAGE_LOG: Final = "storage-daemon.log"
TCG_CONDITION: Final = "TCG: software emulation, times are not those of a KVM host"
KERNEL_ARGUMENTS: Final = (
    "console=ttyS0",
    "quiet",
    "panic=-1",  # reboot at once, which -no-reboot turns into the end of QEMU
    "rdinit=/init",
    # Both act during boot only: the self-tests of the kernel's ciphers and the search for
    # ISA cards take 1.8 of 6 s under TCG.
    "cryptomgr.notests",
    "noisapnp",
)


@dataclass(frozen=True, kw_only=True)
class _Held:
    """Descriptors that QEMU inherits."""

    link: Link | None
    scratch_fd: int | None
    direct: bool
    inject: tuple[socket.socket, ...]

    @property
    def inject_fd(self) -> int | None:
        return self.inject[1].fileno() if self.inject else None

    @property
    def tap_fd(self) -> int | None:
        wire = self.link.wire if self.link is not None else None
        return wire.tap_fd if wire is not None else None

    @property
    def vhost_fd(self) -> int | None:
        return self.link.vhost_fd if self.link is not None else None


def measure_in_guest(context: TrialContext) -> None:
    """Boot a guest and measure in it; fills the context's outcome.

    Raises:
        GuestLost: the guest did not come up, or went away.
        VmjitterError: see `Measurement.run`.
    """
    plan, scenario, outcome = context.plan, context.scenario, context.outcome
    if context.guest is None:
        raise MissingCapability(f"no guest image for the scenario {scenario.name}")
    context.report(_booting(plan, scenario, 0))
    with ExitStack() as stack:
        tuning = stack.enter_context(
            Tuning(
                plan, scenario, context.guest.accel, outcome, log=context.writer.path / "tuning.log"
            )
        )
        tuning.host()
        recorder = stack.enter_context(Recorder(context))
        held = stack.enter_context(_hold(context))
        peer = _start_peer(stack, context, held)
        with outcome.phases.phase("boot"):
            machine = _start(stack, context, held, tuning, recorder)
            outcome.qemu_command = machine.argv
            _describe(context.guest, scenario, held, outcome)
            if cpus := _qemu_cpus(plan):
                listed = ",".join(map(str, sorted(cpus)))
                outcome.conditions.append(f"QEMU on host CPU {listed}, vmjitter on others")
            machine.wait_ready(
                plan.guest.boot_timeout_ns,
                lambda waited_ns: context.report(_booting(plan, scenario, waited_ns)),
            )
        log = context.writer.console_log
        address = GUEST_ADDRESS if held.tap_fd is not None else USER_NET[2]
        _, free = split_cpus(plan.guest.host_cpus)
        side = GuestSide(machine, context.shm, log, address=address, peer=peer, free_cpus=free)
        with outcome.phases.phase("prepare"):
            side.prepare(scenario.disk, scenario.network)
            side.settle()
            outcome.guest_facts = side.facts()
            tuning.running(machine)
            recorder.attach(machine)
        beside = stack.enter_context(loads_beside(context))
        with injecting(context, machine, held.inject, free):
            outcome.measured = Measurement(context, side, recorder, beside).run()
        tuning.verify()
        with outcome.phases.phase("power off"):
            machine.power_off()


@contextmanager
def _hold(context: TrialContext) -> Iterator[_Held]:
    scenario = context.scenario
    with ExitStack() as stack:
        link: Link | None = None
        scratch: tuple[int | None, bool] = (None, False)
        if scenario.network is not Network.NONE:
            # what the knob vhost-net has said is not said again
            known = any(one.startswith("without vhost-net:") for one in context.outcome.deviations)
            vhost = scenario.vhost and not known
            link = stack.enter_context(network_link(context.plan.wire, vhost=vhost))
            context.outcome.deviations.extend(link.deviations)
        if scenario.disk is not Disk.NONE:
            parent = context.plan.disk_dir or context.writer.path
            image = scratch_image(parent, context.plan.disk_bytes)
            scratch = stack.enter_context(image)
        inject = stack.enter_context(monitor_pair(scenario.inject))
        yield _Held(link=link, scratch_fd=scratch[0], direct=scratch[1], inject=inject)


def _start_peer(stack: ExitStack, context: TrialContext, held: _Held) -> str:
    """Start the host's end of the loads that need one; returns how the guest reaches it."""
    place = endpoint(held.link.wire if held.link is not None else None, from_guest=True)
    for load in context.scenario.loads:
        if LOADS[load.name].needs_network:
            log = context.writer.path / "peer.log"
            child = start_peer(place, rate=load.rate, shm_fd=context.shm_fd, log=log)
            stack.enter_context(child)
    return place.reached_at


def _serve_disk(
    stack: ExitStack, context: TrialContext, held: _Held, machine: Machine
) -> StorageDaemon | None:
    """Start the process that serves the disk, if it is not QEMU itself."""
    if not machine.vhost_user_blk or held.scratch_fd is None:
        return None
    daemon = StorageDaemon(
        machine,
        image_fd=held.scratch_fd,
        direct=held.direct,
        log=context.writer.path / STORAGE_LOG,
        cpus=_qemu_cpus(context.plan),
    )
    context.outcome.conditions.append("disk served by qemu-storage-daemon, by vhost-user")
    return stack.enter_context(daemon)


def _start(
    stack: ExitStack, context: TrialContext, held: _Held, tuning: Tuning, recorder: Recorder
) -> QemuMachine:
    """Start QEMU, and before it who serves its disk; both end with the stack."""
    guest = context.guest
    assert guest is not None  # or there is nothing to boot
    image = guest.images[context.scenario.name]
    machine = machine_for(context.plan, context.scenario, image, guest.accel)
    machine = tuning.machine(machine, direct=held.direct)
    storage = _serve_disk(stack, context, held, machine)
    storage_fd = storage.fileno() if storage is not None else None
    resources = Resources(
        console_log=context.writer.console_log.absolute(),
        qmp_fd=-1,
        bell_fd=-1,
        shm_path=fd_path(context.shm_fd),
        shm_bytes=SHM_BYTES,
        scratch_path=fd_path(held.scratch_fd) if held.scratch_fd is not None else None,
        direct=held.direct,
        tap_fd=held.tap_fd,
        vhost_fd=held.vhost_fd,
        trace_log=recorder.qemu_log,
        inject_fd=held.inject_fd,
        storage_fd=storage_fd,
        cpus=_qemu_cpus(context.plan),
    )
    fds = (context.shm_fd, held.scratch_fd, held.tap_fd, held.vhost_fd, held.inject_fd, storage_fd)
    qemu = QemuMachine(
        machine,
        resources,
        shm=context.shm,
        inherit=[fd for fd in fds if fd is not None],
        qemu_log=context.writer.qemu_log,
        storage=storage,
    )
    return stack.enter_context(qemu)


def _qemu_cpus(plan: Plan) -> frozenset[int]:
    """The host CPUs that QEMU is kept on; none means any."""
    cpus, others = split_cpus(plan.guest.host_cpus)
    return cpus if cpus != others else frozenset()


def machine_for(plan: Plan, scenario: Scenario, image: GuestImage, accel: Accel) -> Machine:
    """The virtual machine that a scenario asks for.  Pure."""
    return Machine(
        accel=accel,
        kernel=image.kernel.vmlinuz,
        initramfs=image.initramfs,
        append=" ".join((*KERNEL_ARGUMENTS, *plan.guest.append.split())),
        memory_bytes=plan.guest.memory_bytes,
        vcpus=plan.guest.vcpus,
        disk=scenario.disk,
        network=scenario.network,
        vhost=scenario.vhost,
    )


def _describe(guest: Guest, scenario: Scenario, held: _Held, outcome: Outcome) -> None:
    outcome.accel = guest.accel.value
    if guest.accel is Accel.TCG:
        outcome.conditions.append(TCG_CONDITION)
        if guest.accel_reason:
            outcome.deviations.append(f"TCG instead of KVM: {guest.accel_reason}")
    if held.link is not None and scenario.network is Network.VIRTIO:
        vhost = "with" if held.link.vhost_fd is not None else "without"
        outcome.conditions.append(f"virtio-net {vhost} vhost-net")
    if held.scratch_fd is not None and not held.direct:
        outcome.deviations.append("disk image through the page cache: no O_DIRECT here")


def _booting(plan: Plan, scenario: Scenario, elapsed_ns: int) -> Progress:
    return Progress(
        scenario=scenario.name,
        phase="boot",
        loops=plan.probe.loops,
        period_ns=plan.probe.period_ns,
        elapsed_ns=elapsed_ns,
    )
