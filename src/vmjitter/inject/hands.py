"""What a disturbance may use: CPUs, the host's clock, a monitor of QEMU, a file on the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmjitter.errors import CommandFailed
from vmjitter.inject.monitor import Monitor

Span = tuple[int, int]


@dataclass(kw_only=True)
class Hands:
    """Of one trial.

    Attributes:
        own_cpus: where the injecting program is while it does nothing.
        vcpu_tid: thread of the probe's virtual CPU, ``main_tid``: of QEMU's main loop.
        disk_dir: on the host's disk.
        priority: real-time priority of a hog.
        lock_bytes_per_ms: how much memory `hold_lock` has to copy for a millisecond.
        disk_fd: a file on the host's disk, or -1.
        iothread_tid: thread of QEMU that serves the disk, or -1.
    """

    own_cpus: frozenset[int]
    vcpu_tid: int
    main_tid: int
    disk_dir: Path
    monitor: Monitor | None = None
    priority: int = 60
    lock_bytes_per_ms: int = 0
    disk_fd: int = -1
    iothread_tid: int = -1

    @property
    def qemu(self) -> Monitor:
        """The monitor.

        Raises:
            CommandFailed: there is none.
        """
        if self.monitor is None:
            raise CommandFailed("there is no monitor of QEMU")
        return self.monitor

    def become_real_time(self) -> None:
        """From now on this program comes before everything that has no such priority.

        Raises:
            PermissionError: it may not.
        """
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(self.priority))
        self.go_home()

    def go_home(self) -> None:
        """Back to the own CPUs."""
        os.sched_setaffinity(0, self.own_cpus)

    def hog(self, tid: int, length_ns: int, watch: Callable[[int], None] | None = None) -> Span:
        """Take the CPU that a thread is on; returns from when until when.

        Args:
            tid: the thread.
            length_ns: how long.
            watch: called again and again meanwhile with the time.
        """
        os.sched_setaffinity(0, {cpu_of(tid)})
        clock = time.monotonic_ns
        begin_ns = now_ns = clock()
        end_ns = begin_ns + length_ns
        while now_ns < end_ns:
            now_ns = clock()
            if watch is not None:
                watch(now_ns)
        self.go_home()
        return begin_ns, now_ns

    @contextmanager
    def idle_on(self, cpu: int) -> Iterator[None]:
        """Work on a CPU in the time that all others leave over."""
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        os.sched_setaffinity(0, {cpu})
        try:
            yield
        finally:
            self.become_real_time()

    def sleep_until(self, due_ns: int) -> None:
        """Wait; returns at once if that is over."""
        left_ns = due_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)


def state_of(tid: int) -> str:
    """What a thread does: R, S, D ..., field 3 of proc_pid_stat(5)."""
    return Path(f"/proc/{tid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def cpu_of(tid: int) -> int:
    """The CPU on which a thread ran last: field 39 of proc_pid_stat(5)."""
    text = Path(f"/proc/{tid}/stat").read_text(errors="replace")
    return int(text.rpartition(")")[2].split()[36])
