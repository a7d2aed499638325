"""Guests for the benchmarks, started and spoken to by the same code as in a measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmjitter.effects.clock import now_ns
from vmjitter.effects.scratch import anonymous_memory, fd_path
from vmjitter.errors import GuestHang
from vmjitter.guest.channel import Reply
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.qemu.cmdline import Machine, Resources
from vmjitter.qemu.machine import QemuMachine
from vmjitter.units import NS_PER_S, Ns

BOOT_TIMEOUT_NS = Ns(240 * NS_PER_S)


@dataclass(frozen=True, kw_only=True)
class Held:
    """What QEMU inherits besides the shared memory: disk image and network."""

    scratch_fd: int | None = None
    direct: bool = False
    tap_fd: int | None = None
    vhost_fd: int | None = None


@dataclass(frozen=True, kw_only=True)
class Booted:
    """A running guest and the memory that it shares with us."""

    machine: QemuMachine
    shm: SharedMemory
    started_ns: int

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Reply:
        """Run a program in the guest and wait for its end."""
        return self.machine.agent.call("run", *argv, timeout_s=timeout_s)


@contextmanager
def started(machine: Machine, directory: Path, held: Held | None = None) -> Iterator[Booted]:
    """Start a guest and end it; does not wait for its agent."""
    held = held or Held()
    with ExitStack() as stack:
        shm_fd = stack.enter_context(anonymous_memory(SHM_BYTES))
        shm = stack.enter_context(SharedMemory(shm_fd))
        fds = (shm_fd, held.scratch_fd, held.tap_fd, held.vhost_fd)
        inherit = [fd for fd in fds if fd is not None]
        begin_ns = now_ns()
        qemu = QemuMachine(
            machine,
            resources(directory, shm_fd, held),
            shm=shm,
            inherit=inherit,
            qemu_log=directory / "qemu.log",
        )
        stack.enter_context(qemu)
        yield Booted(machine=qemu, shm=shm, started_ns=begin_ns)


def resources(directory: Path, shm_fd: int, held: Held) -> Resources:
    """What the QEMU process inherits or writes."""
    return Resources(
        console_log=directory / "console.log",
        qmp_fd=-1,
        bell_fd=-1,
        shm_path=fd_path(shm_fd),
        shm_bytes=SHM_BYTES,
        scratch_path=fd_path(held.scratch_fd) if held.scratch_fd is not None else None,
        direct=held.direct,
        tap_fd=held.tap_fd,
        vhost_fd=held.vhost_fd,
    )


def wait_finished(booted: Booted, look: Callable[[], object], timeout_s: float) -> Reply:
    """Wait for the reply to the last command, calling ``look`` twice a second."""
    end_ns = now_ns() + round(timeout_s * NS_PER_S)
    agent = booted.machine.agent
    while not agent.finished:
        agent.pause(0.5)
        look()
        if now_ns() > end_ns:
            raise GuestHang(f"the guest did not answer within {timeout_s:g} s")
    return agent.reply()
