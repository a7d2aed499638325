"""What the kernel counts for every thread without being asked: waiting, running, faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MINFLT: Final = 7
_MAJFLT: Final = 9
"""Places behind the name in proc_pid_stat(5): fields 10 and 12."""


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Since the thread's start.

    Attributes:
        run_delay_ns: time it was runnable and did not run (Documentation/scheduler/sched-stats.rst,
            "/proc/<pid>/schedstat"); for a vCPU the very number that KVM passes on to the guest as
            stolen time.
        cpu_ns: time it ran.
        minflt: page faults without I/O, and ``majflt`` with.
    """

    run_delay_ns: int
    cpu_ns: int
    minflt: int
    majflt: int


def thread_counters(pid: int, tid: int) -> Counters | None:
    """Counters of one thread of a process, or None once it is gone."""
    task = Path(f"/proc/{pid}/task/{tid}")
    try:
        cpu, delay = (task / "schedstat").read_text().split()[:2]
        fields = (task / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return Counters(
        run_delay_ns=int(delay),
        cpu_ns=int(cpu),
        minflt=int(fields[_MINFLT]),
        majflt=int(fields[_MAJFLT]),
    )
