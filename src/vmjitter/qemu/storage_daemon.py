"""The guest's disk served by a process of its own, qemu-storage-daemon(1), by vhost-user.

QEMU only sets up the connection; requests and completions go between the guest's memory, which is
shared, and the daemon (docs/interop/vhost-user in QEMU's manual).  The socket has no name in a file
system: the kernel makes up an abstract one, which ends with the socket (unix(7), "Autobind
feature").  The daemon takes a listening descriptor, ``addr.type=fd`` (qemu-storage-daemon(1),
--export), and serves the first who connects, which is us; QEMU inherits that end.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from vmjitter.effects.process import Child, find_program, on_cpus
from vmjitter.effects.scratch import fd_path
from vmjitter.errors import StorageDaemonDied
from vmjitter.qemu.cmdline import Machine, block_nodes

PROGRAM: Final = "qemu-storage-daemon"
_INSTALL_HINT: Final = (
    "apt-get install qemu-utils; in Debian 12 without backports it is part of qemu-system-common"
)
_BESIDE_S: Final = 0.2
"""How much later than QEMU the daemon may be seen to have ended if QEMU ended because of it."""


def storage_daemon_program() -> str:
    """Path of the daemon.

    Raises:
        MissingCapability: it is not installed; the hint names Debian's package.
    """
    return find_program(PROGRAM, hint=_INSTALL_HINT)


def storage_daemon_argv(
    program: str, machine: Machine, *, image: str, direct: bool, listen_fd: int
) -> tuple[str, ...]:
    """The complete argument list, program first.  Pure.

    Args:
        program: path of the daemon.
        machine: gives how the image is accessed, and one queue for each vCPU, as many as QEMU's
            own virtio-blk-pci has.
        image: path of the raw disk image.
        direct: the image's file system can bypass the page cache.
        listen_fd: descriptor of the listening socket that it inherits.
    """
    nodes = block_nodes(machine, image, direct=direct)
    export = (
        "type=vhost-user-blk,id=disk,node-name=scratch,writable=on,"
        f"num-queues={machine.vcpus},addr.type=fd,addr.str={listen_fd}"
    )
    return (program, *(word for node in nodes for word in ("--blockdev", node)), "--export", export)


class StorageDaemon:
    """A running daemon, and the end of its socket that QEMU is to inherit.

    It dies with us, as all children do, and ends with the context.

    Args:
        machine: see `storage_daemon_argv`.
        image_fd: open disk image, which the daemon inherits.
        direct: see `storage_daemon_argv`.
        log: file that gets its command line and what it writes.
        cpus: host CPUs that it may use at first, those of QEMU; empty means any.

    Raises:
        MissingCapability: it is not installed.
        CommandFailed: it could not be started.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        image_fd: int,
        direct: bool,
        log: Path,
        cpus: Collection[int] = (),
    ) -> None:
        with ExitStack() as stack:
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(b"")
            listening.listen(1)
            self._ours = socket.socket(socket.AF_UNIX)
            stack.callback(self._ours.close)
            # at once: nobody else can be the first
            self._ours.connect(listening.getsockname())
            number = listening.fileno()
            argv = storage_daemon_argv(
                storage_daemon_program(),
                machine,
                image=fd_path(image_fd),
                direct=direct,
                listen_fd=number,
            )
            self.argv = (*on_cpus(cpus), *argv)
            # the record of how the disk was served, as the status has QEMU's
            log.write_text(f"{shlex.join(self.argv)}\n", encoding="utf-8")
            self.child = Child(self.argv, log=log, pass_fds=(number, image_fd))
            listening.close()
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The connected end of the socket, for QEMU to inherit."""
        return self._ours.fileno()

    def check_alive(self, *, qemu_ended: bool = False) -> None:
        """Raise an error if it has ended; do nothing otherwise.

        Args:
            qemu_ended: QEMU has, and this may be why: the daemon is waited for a moment.

        Raises:
            StorageDaemonDied: it has ended; carries what it wrote.
        """
        status = self.child.wait(_BESIDE_S) if qemu_ended else self.child.status()
        if status is None:
            return
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        raise StorageDaemonDied(
            f"{PROGRAM}, which served the guest's disk, ended {how} while the guest was needed",
            hint="leave the knob vhost-user-blk out to have QEMU serve the disk itself",
            evidence=self.child.output_tail(),
        )

    def close(self) -> None:
        """End it.  Safe to call twice."""
        self._ours.close()
        self.child.close()
