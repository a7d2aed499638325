"""Threads of other processes: their names, policies, priorities and CPUs.

Policies are written in the words of `chrt`: "fifo 99", "other"; CPUs as the kernel lists them:
"0-2,5".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NAMES: Final = {
    os.SCHED_OTHER: "other",
    os.SCHED_FIFO: "fifo",
    os.SCHED_RR: "rr",
    os.SCHED_BATCH: "batch",
    os.SCHED_IDLE: "idle",
    6: "deadline",  # sched(7); Python has no name for it
}
_POLICIES: Final = {name: number for number, name in _NAMES.items()}
_AFTER_NAME_STATE_TO_START: Final = 19
"""From the state to the start time in proc_pid_stat(5): fields 3 and 22."""


@dataclass(frozen=True, kw_only=True)
class Thread:
    """One thread of a process.

    Attributes:
        started: clock ticks from boot to its start; with the id it names the thread for good,
            since ids are used again.
    """

    tid: int
    name: str
    started: int


def thread(tid: int) -> Thread | None:
    """The thread with this id, or None if there is none."""
    try:
        text = Path(f"/proc/{tid}/stat").read_text(errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    return Thread(tid=tid, name=name, started=int(rest.split()[_AFTER_NAME_STATE_TO_START]))


def threads(pid: int) -> tuple[Thread, ...]:
    """All threads of a process, in the order of their ids; none if it has ended."""
    try:
        found = sorted(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return ()
    return tuple(one for one in map(thread, found) if one is not None)


def kernel_threads() -> tuple[Thread, ...]:
    """All threads of the kernel: the children of kthreadd, which has process id 2."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with suppress(OSError):
                text = (path / "stat").read_text(errors="replace")
                if text.rpartition(")")[2].split()[1] == "2":
                    found.append(int(path.name))
    return tuple(one for one in map(thread, sorted(found)) if one is not None)


def read_policy(tid: int) -> str:
    """Policy and priority of a thread.

    Raises:
        ProcessLookupError: there is no such thread.
    """
    policy = os.sched_getscheduler(tid) & ~os.SCHED_RESET_ON_FORK
    priority = os.sched_getparam(tid).sched_priority
    name = _NAMES.get(policy, str(policy))
    return f"{name} {priority}" if priority else name


def write_policy(tid: int, text: str) -> None:
    """Set policy and priority of a thread.

    Raises:
        OSError: the kernel refuses, see sched_setscheduler(2).
    """
    name, _, priority = text.partition(" ")
    if name not in _POLICIES or name == "deadline":
        raise OSError(errno.EINVAL, f"no policy {text!r}")
    os.sched_setscheduler(tid, _POLICIES[name], os.sched_param(int(priority or 0)))


def read_cpus(tid: int) -> str:
    """The CPUs on which a thread may run.

    Raises:
        ProcessLookupError: there is no such thread.
    """
    return cpu_list(os.sched_getaffinity(tid))


def write_cpus(tid: int, text: str) -> None:
    """Keep a thread on some CPUs.

    Raises:
        OSError: the kernel refuses, see sched_setaffinity(2).
    """
    os.sched_setaffinity(tid, cpu_set(text))


def cpu_list(cpus: Iterable[int]) -> str:
    """CPUs as the kernel lists them, e.g. "0-2,5"."""
    parts: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1][1:] = [cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)


def cpu_set(text: str) -> frozenset[int]:
    """The CPUs in a list as the kernel writes it.

    Raises:
        OSError: it is none.
    """
    try:
        return frozenset(
            cpu
            for part in text.split(",")
            if part.strip()
            for first, _, last in [part.strip().partition("-")]
            for cpu in range(int(first), int(last or first) + 1)
        )
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no list of CPUs: {text!r}") from error
