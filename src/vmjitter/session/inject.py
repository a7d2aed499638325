"""Disturbances on purpose beside a trial: the setting ``inject``."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vmjitter.effects.clock import now_ns
from vmjitter.effects.process import Child
from vmjitter.errors import CommandFailed
from vmjitter.inject.kinds import KINDS
from vmjitter.inject.log import HEADER, INJECT_FILE
from vmjitter.inject.program import Job
from vmjitter.model.inject import Injection
from vmjitter.qemu.machine import QemuMachine
from vmjitter.session.context import TrialContext
from vmjitter.units import NS_PER_S, format_ns

LOG_NAME: Final = "inject.log"
_PREPARES_NS: Final = 60 * NS_PER_S
_ENDS_S: Final = 5.0


@contextmanager
def monitor_pair(injections: Sequence[Injection]) -> Iterator[tuple[socket.socket, ...]]:
    """Two connected sockets, for the program and for QEMU; none if nothing on the host is done."""
    if not _on_the_host(injections):
        yield ()
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@contextmanager
def injecting(
    context: TrialContext,
    machine: QemuMachine,
    pair: tuple[socket.socket, ...],
    cpus: frozenset[int],
) -> Iterator[None]:
    """Disturb while the probe runs; the program waits for that by itself.

    Args:
        context: the trial; what is done goes to its ``inject.csv``.
        machine: the running guest.
        pair: see `monitor_pair`; QEMU has the second one.
        cpus: of the host, on which the program works when it does not disturb.

    Raises:
        CommandFailed: the program cannot do what it shall.
        GuestCommandFailed: the guest cannot.
    """
    injections = context.scenario.inject
    if not injections:
        yield
        return
    distance_ns = context.plan.inject_distance_ns
    listed = ", ".join(f"{one.kind} {format_ns(one.length_ns)}" for one in injections)
    context.outcome.conditions.append(
        f"disturbed on purpose every {format_ns(distance_ns)}: {listed}"
    )
    for one in injections:
        if script := KINDS[one.kind].in_guest:
            times = (one.length_ns, distance_ns)
            words = [str(time_ns // 1000) for time_ns in times]
            machine.agent.check(["sh", "-c", script, "sh", *words])
    if not pair:
        yield
        return
    job = _job(context, machine, pair[0].fileno(), cpus)
    argv = [sys.executable, "-P", "-m", "vmjitter.inject.program", job.to_json()]
    fds = (pair[0].fileno(), context.shm_fd)
    with Child(argv, log=context.writer.path / LOG_NAME, pass_fds=fds) as child:
        _await(child, machine, Path(job.log))
        yield
        if child.wait(_ENDS_S) != 0:
            said = child.output_tail(3)
            context.outcome.deviations.append(f"the disturbances ended before their time: {said}")


def _on_the_host(injections: Sequence[Injection]) -> bool:
    return any(KINDS[one.kind].inject is not None for one in injections)


def _job(context: TrialContext, machine: QemuMachine, qmp_fd: int, cpus: frozenset[int]) -> Job:
    return Job(
        injections=[(one.kind, one.length_ns) for one in context.scenario.inject],
        distance_ns=context.plan.inject_distance_ns,
        own_cpus=sorted(cpus or os.sched_getaffinity(0)),
        vcpu_tid=machine.vcpu_threads()[0],
        main_tid=machine.child.pid,
        qmp_fd=qmp_fd,
        shm_fd=context.shm_fd,
        disk_dir=str((context.plan.disk_dir or context.writer.path).absolute()),
        log=str((context.writer.path / INJECT_FILE).absolute()),
    )


def _await(child: Child, machine: QemuMachine, log: Path) -> None:
    """Wait until the program has prepared everything."""
    end_ns = now_ns() + _PREPARES_NS
    while not (log.is_file() and log.read_text(encoding="utf-8").startswith(HEADER)):
        if child.status() is not None or now_ns() > end_ns:
            raise CommandFailed(
                "the disturbances of this scenario cannot be done here",
                evidence=child.output_tail(3),
                hint="they need root and KVM: --bench sim has both",
            )
        machine.agent.pause(0.05)
