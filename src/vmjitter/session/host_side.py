"""Programs on the host: beside a guest, or all of a trial in the scenario without one.

In that scenario they are kept on one CPU, because the guest it is compared with has one.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vmjitter.effects.process import Child, find_program, split_cpus
from vmjitter.effects.scratch import fd_path
from vmjitter.guest.channel import Reply
from vmjitter.loads.catalog import Place
from vmjitter.model.run import ClockOffset


def load_place(program: Path, shm_fd: int, disk_dir: Path, peer: str) -> Place:
    """Where loads on the host find things; ``disk_dir`` is an empty directory."""
    return Place(program=str(program), shm_path=fd_path(shm_fd), disk_dir=str(disk_dir), peer=peer)


class HostPrograms:
    """Programs that die with us, on some CPUs of the host; a `LoadSide`.

    Args:
        place: where the loads are, see `load_place`.
        shm_fd: the shared memory, inherited by every program.
        log: gets what the programs print.
        cpus: CPU list in the words of taskset(1).
    """

    name = "host"

    def __init__(self, place: Place, shm_fd: int, log: Path, cpus: str) -> None:
        self.place = place
        self._cpus = cpus
        self._shm_fd = shm_fd
        self._log = log
        self._stack = ExitStack()
        self._spawned: dict[int, Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def spawn(self, argv: Sequence[str]) -> int:
        """See `Side.spawn`."""
        taskset = find_program("taskset", hint="install util-linux")
        child = self._child([taskset, "--cpu-list", self._cpus, *argv])
        self._spawned[child.pid] = child
        return child.pid

    def runs(self, pid: int) -> bool:
        """See `Side.runs`."""
        return self._spawned[pid].status() is None

    def evidence(self) -> str:
        """See `Side.evidence`."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def _child(self, argv: Sequence[str]) -> Child:
        child = Child(argv, log=self._log, pass_fds=(self._shm_fd,))
        return self._stack.enter_context(child)


class HostSide(HostPrograms):
    """The `Side` without a guest.

    Args:
        probe: path of the native ``probe``.
        place: where the loads are, see `load_place`.
        shm_fd: the shared memory, inherited by every program.
        log: gets what the programs print.
    """

    def __init__(self, probe: Path, place: Place, shm_fd: int, log: Path) -> None:
        self.probe_program = str(probe)
        self.affinity = str(max(os.sched_getaffinity(0)))
        super().__init__(place, shm_fd, log, self.affinity)
        _, self.free_cpus = split_cpus(1)
        self._started: Child | None = None

    def start(self, argv: Sequence[str]) -> None:
        """See `Side.start`."""
        self._started = self._child(argv)

    def finished(self) -> Reply | None:
        """See `Side.finished`."""
        status = self._started.status() if self._started is not None else None
        return None if status is None else Reply(status=status, text=self.evidence())

    def pause(self, seconds: float) -> None:
        """See `Side.pause`."""
        watched = [self._started] if self._started is not None else []
        select.select(watched, [], [], seconds)

    def clock_offset(self) -> ClockOffset | None:
        """See `Side.clock_offset`: there is only one clock here."""
        return None
