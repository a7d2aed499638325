"""The life of one QEMU process, from its start to its end, with QMP in between.

Every wait is on a descriptor.  However it ends, by itself, by us or because we were killed, nothing
is left: sockets and memory have no names, and the process has PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from vmjitter.effects.clock import now_ns
from vmjitter.effects.process import Child, check, find_program, on_cpus
from vmjitter.errors import BootTimeout, CommandFailed, GuestLost, GuestPanic, QemuDied
from vmjitter.guest.channel import GuestAgent
from vmjitter.guest.shm import SharedMemory
from vmjitter.qemu.cmdline import Machine, Resources, qemu_argv
from vmjitter.qemu.storage_daemon import StorageDaemon
from vmjitter.qmp.client import Qmp
from vmjitter.units import NS_PER_S, Ns

_QUIT_S: Final = 2.0
_INSTALL_HINT: Final = "install QEMU, e.g. apt-get install qemu-system-x86"


def qemu_program() -> str:
    """Path of the QEMU that runs 32-bit and 64-bit x86 guests.

    Raises:
        MissingCapability: it is not installed.
    """
    return find_program("qemu-system-x86_64", hint=_INSTALL_HINT)


def qemu_version(program: str) -> str:
    """QEMU's version as it names itself, e.g. "7.2.22 (Debian 1:7.2+dfsg-7)"."""
    line = check([program, "--version"], timeout_s=20).stdout.splitlines()[0]
    return line.removeprefix("QEMU emulator version ")


_PANIC: Final = "Kernel panic"


def console_tail(path: Path, lines: int = 20) -> str:
    """The last lines of the guest's console, or the first of its panic, printable."""
    if not path.exists():
        return ""
    text = path.read_text(errors="replace")
    clean = "".join(c for c in text if c.isprintable() or c in "\n\t")
    kept = clean.splitlines()
    at = next((place for place, line in enumerate(kept) if _PANIC in line), None)
    return "\n".join(kept[-lines:] if at is None else kept[at : at + lines])


class QemuMachine:
    """A running virtual machine.

    Args:
        machine: what to start.
        shm: the shared memory, already laid out.
        shm_fd: its descriptor, which QEMU inherits.
        inherit: further descriptors that the resources name.
        resources: as for `qemu_argv`; ``qmp_fd`` and ``bell_fd`` are filled in here.
        storage: serves the disk, or None; must outlive this machine.
    """

    def __init__(
        self,
        machine: Machine,
        resources: Resources,
        *,
        shm: SharedMemory,
        inherit: Sequence[int],
        qemu_log: Path,
        storage: StorageDaemon | None = None,
    ) -> None:
        self.storage = storage
        self.vcpus = machine.vcpus
        self._stack = ExitStack()
        self._console = resources.console_log
        with ExitStack() as undo:
            undo.callback(self._stack.close)
            qmp, qmp_theirs = self._socketpair()
            bell, bell_theirs = self._socketpair()
            fields = {**vars(resources), "qmp_fd": qmp_theirs.fileno()}
            self.argv = qemu_argv(
                qemu_program(), machine, Resources(**{**fields, "bell_fd": bell_theirs.fileno()})
            )
            self.argv = (*on_cpus(resources.cpus), *self.argv)
            fds = (*inherit, qmp_theirs.fileno(), bell_theirs.fileno())
            self.child = self._stack.enter_context(Child(self.argv, log=qemu_log, pass_fds=fds))
            qmp_theirs.close()  # so that the end of QEMU is the end of file for us
            bell_theirs.close()
            self.qmp = self._stack.enter_context(Qmp(qmp))
            self.agent = GuestAgent(shm, bell, self.check_alive)
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_ready(self, timeout_ns: Ns, tick: Callable[[int], None] = lambda _: None) -> None:
        """Wait until the guest's agent is up.

        Args:
            timeout_ns: how long at most.
            tick: called a few times a second with the time waited, in nanoseconds.

        Raises:
            BootTimeout: not within ``timeout_ns``; carries the end of the console.
            GuestPanic: its kernel panicked.
            QemuDied: QEMU ended, for instance because it refused an option.
        """
        begin_ns = now_ns()
        self._connect()
        while not self.agent.ready:
            self.agent.pause(0.25)
            tick(now_ns() - begin_ns)
            if now_ns() - begin_ns > timeout_ns:
                raise BootTimeout(
                    f"the guest was not ready {timeout_ns / NS_PER_S:g} s after QEMU's start",
                    hint="its console is in console.log; guest.boot_timeout sets the limit",
                    evidence=console_tail(self._console),
                )

    def check_alive(self) -> None:
        """Raise the error that fits if QEMU or who serves its disk has ended, else do nothing."""
        status = self.child.status()
        if self.storage is not None:
            self.storage.check_alive(qemu_ended=status is not None)
        if status is not None:
            raise self._death(status)

    def vcpu_threads(self) -> dict[int, int]:
        """Thread id of each vCPU, by its index (QMP query-cpus-fast)."""
        cpus = self.qmp.execute("query-cpus-fast")
        if not isinstance(cpus, list):
            raise CommandFailed(f"query-cpus-fast returned {cpus!r}")
        return {_integer(cpu, "cpu-index"): _integer(cpu, "thread-id") for cpu in cpus}

    def iothreads(self) -> tuple[int, ...]:
        """Thread ids of QEMU's I/O threads (QMP query-iothreads)."""
        found = self.qmp.execute("query-iothreads")
        if not isinstance(found, list):
            raise CommandFailed(f"query-iothreads returned {found!r}")
        return tuple(_integer(one, "thread-id") for one in found)

    def power_off(self) -> None:
        """End QEMU; what the guest has on its scratch disk is of no use to anybody.

        The guest's own power-off would take it a second, and has been seen to hang in the transmit
        path of virtio-net with a load's last datagrams.
        """
        try:
            self.qmp.execute("quit")
        except (QemuDied, CommandFailed):
            return  # it is going, or `close` will end it
        self.child.wait(_QUIT_S)

    def close(self) -> None:
        """End QEMU, whatever state it is in.  Safe to call twice."""
        self._stack.close()

    def _connect(self) -> None:
        try:
            self.qmp.connect()
        except QemuDied:
            if self.child.wait(2.0) is not None:
                self.check_alive()
            raise

    def _death(self, status: int) -> GuestLost:
        console = console_tail(self._console)
        if _PANIC in console:
            return GuestPanic("the guest's kernel panicked", evidence=console)
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        evidence = "\n".join(part for part in (self.child.output_tail(), console) if part)
        return QemuDied(f"QEMU ended {how} while the guest was needed", evidence=evidence)

    def _socketpair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        self._stack.callback(theirs.close)
        self._stack.callback(ours.close)
        return ours, theirs


def _integer(record: Mapping[str, object], key: str) -> int:
    value = record.get(key)
    if not isinstance(value, int):
        raise CommandFailed(f"QMP: {key} is missing in {record!r}")
    return value
