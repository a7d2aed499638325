"""``proc.csv``: what the kernel counts for every thread of QEMU, or of the probe and its loads.

One row per thread and look, at most twice a second.  The difference of two rows tells how long a
thread had to wait for a CPU in between; it costs two short files of /proc per thread, so it is
recorded for every trial.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from vmjitter.effects.clock import now_ns
from vmjitter.effects.thread_counters import thread_counters
from vmjitter.units import NS_PER_S

HEADER: Final = "host_ns,tid,run_delay_ns,cpu_ns,minflt,majflt"
_DISTANCE_NS: Final = 4 * NS_PER_S // 10
"""Somewhat less than the distance of two looks, so that each look counts but no more than that."""


class CounterLog:
    """Appends rows; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii", buffering=io.DEFAULT_BUFFER_SIZE)
        self._file.write(f"{HEADER}\n")
        self._last_ns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def due(self) -> bool:
        """Whether the last look is long enough ago."""
        return now_ns() - self._last_ns >= _DISTANCE_NS

    def look(self, threads: Mapping[int, int]) -> None:
        """Write one row for each thread that is still there.

        Args:
            threads: process of each thread, by thread id.
        """
        self._last_ns = now_ns()
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
                self._file.write(",".join(map(str, values)) + "\n")
        self._file.flush()
