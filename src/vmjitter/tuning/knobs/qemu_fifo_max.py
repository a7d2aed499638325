"""The paper's priority: the whole QEMU process at the highest real-time priority."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vmjitter.errors import MissingCapability
from vmjitter.model.run import KnobChange
from vmjitter.tuning.knob import Target

_NAMES: Final = {
    os.SCHED_OTHER: "other",
    os.SCHED_FIFO: "fifo",
    os.SCHED_RR: "rr",
    os.SCHED_BATCH: "batch",
    os.SCHED_IDLE: "idle",
}


@dataclass(frozen=True)
class QemuFifoMax:
    """Every thread of QEMU at SCHED_FIFO and the highest priority (sched(7)).

    Threads that QEMU starts later inherit policy and priority from the thread that creates them.
    To be applied after boot only: on a host with one CPU the vCPU would starve the main loop.
    """

    name: str = "qemu-fifo-max"
    effect: str = "all threads of QEMU run at the highest real-time priority"
    undo: str = "ends with the QEMU process, which ends with vmjitter"

    def apply(self, target: Target) -> tuple[KnobChange, ...]:
        """Set each thread and read it back; see `Knob.apply`."""
        wanted = os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO))
        changes = []
        for tid, comm in _threads(target.qemu_pid):
            before = _read(tid)
            try:
                os.sched_setscheduler(tid, os.SCHED_FIFO, wanted)
            except ProcessLookupError:
                continue  # a worker thread that ended meanwhile
            except PermissionError as error:
                raise _refused(error) from error
            changes.append(
                KnobChange(
                    knob=self.name,
                    target=f"{comm} ({tid})",
                    before=before,
                    wanted=f"fifo {wanted.sched_priority}",
                    read_back=_read(tid),
                )
            )
        return tuple(changes)

    def verify(self, target: Target, changes: tuple[KnobChange, ...]) -> tuple[KnobChange, ...]:
        """Read every thread that still exists; see `Knob.verify`."""
        alive = {f"{comm} ({tid})": tid for tid, comm in _threads(target.qemu_pid)}
        return tuple(
            replace(change, after=_read(alive[change.target])) if change.target in alive else change
            for change in changes
        )


def _threads(pid: int) -> list[tuple[int, str]]:
    found = []
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
        try:
            found.append((int(task.name), (task / "comm").read_text().strip()))
        except OSError:
            continue  # it ended between the listing and the reading
    return found


def _read(tid: int) -> str:
    try:
        policy = os.sched_getscheduler(tid)
        priority = os.sched_getparam(tid).sched_priority
    except ProcessLookupError:
        return "ended"
    name = _NAMES.get(policy & ~os.SCHED_RESET_ON_FORK, str(policy))
    return f"{name} {priority}" if priority else name


def _refused(error: OSError) -> MissingCapability:
    reason = os.strerror(error.errno or errno.EPERM)
    return MissingCapability(
        f"real-time priority for QEMU was refused: {reason}",
        hint="run as root, or give the user CAP_SYS_NICE or an rtprio limit of 99; "
        "with CONFIG_RT_GROUP_SCHED the cgroup needs a budget in cpu.rt_runtime_us",
    )
