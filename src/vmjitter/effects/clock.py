"""The host's clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from vmjitter.units import Ns


def now_ns() -> Ns:
    """CLOCK_MONOTONIC of this host, in nanoseconds."""
    return Ns(time.monotonic_ns())


def cpu_ns() -> Ns:
    """CPU time used so far by this process, all threads."""
    return Ns(time.process_time_ns())


def utc_now() -> datetime:
    """Wall-clock time, aware of its zone (UTC)."""
    return datetime.now(UTC)


def pause(duration_ns: int) -> None:
    """Sleep; for waits that have no descriptor to wait on."""
    time.sleep(duration_ns / 1e9)
