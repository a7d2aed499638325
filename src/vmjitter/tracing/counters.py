"""``proc.csv``: what the kernel counts for every thread of QEMU, or of the probe and its loads.

One row per thread and look, at most twice a second, and every two seconds without ``--trace``.  The
difference of two rows tells how long a thread had to wait for a CPU in between; it costs two short
files of /proc per thread, so it is recorded for every trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from vmjitter.effects.clock import now_ns
from vmjitter.effects.thread_counters import thread_counters
from vmjitter.units import NS_PER_S

HEADER: Final = "host_ns,tid,run_delay_ns,cpu_ns,minflt,majflt"
OFTEN_NS: Final = 4 * NS_PER_S // 10
"""Somewhat less than the distance of two looks, so that each look counts but no more than that."""
SELDOM_NS: Final = 19 * NS_PER_S // 10


class CounterLog:
    """Appends rows; use as a context manager.

    Args:
        path: the file.
        distance_ns: of two looks, at least.
    """

    def __init__(self, path: Path, distance_ns: int = OFTEN_NS) -> None:
        self._distance_ns = distance_ns
        # without a buffer: what a full disk refuses is not tried again when the file is closed
        self._file = path.open("ab", buffering=0)
        self._file.write(f"{HEADER}\n".encode())
        self._last_ns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def due(self) -> bool:
        """Whether the last look is long enough ago."""
        return now_ns() - self._last_ns >= self._distance_ns

    def look(self, threads: Mapping[int, int]) -> None:
        """Write one row for each thread that is still there.

        Args:
            threads: process of each thread, by thread id.

        Raises:
            OSError: they cannot be written.
        """
        self._last_ns = now_ns()
        lines = []
        for tid, pid in sorted(threads.items()):
            time_ns = now_ns()
            if (found := thread_counters(pid, tid)) is not None:
                values = (
                    time_ns,
                    tid,
                    found.run_delay_ns,
                    found.cpu_ns,
                    found.minflt,
                    found.majflt,
                )
                lines.append(",".join(map(str, values)) + "\n")
        self._file.write("".join(lines).encode())
