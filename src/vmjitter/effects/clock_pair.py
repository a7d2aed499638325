"""Wall clock and monotonic clock, read together."""

from __future__ import annotations

import time
from typing import Final

_TRIES: Final = 9


def clock_pair() -> tuple[int, int]:
    """CLOCK_REALTIME and CLOCK_MONOTONIC at the same moment, in nanoseconds.

    The best of a few tries: the one whose two readings of the monotonic clock, before and after the
    other, lie closest together; their middle is returned.
    """
    tries = []
    for _ in range(_TRIES):
        before_ns = time.monotonic_ns()
        real_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after_ns = time.monotonic_ns()
        tries.append((after_ns - before_ns, real_ns, (before_ns + after_ns) // 2))
    _, real_ns, mono_ns = min(tries)
    return real_ns, mono_ns
