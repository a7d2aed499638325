"""Holding QEMU's big lock for a chosen time, shared by several kinds.

A command of the monitor runs in the main loop, with the big lock held from its start to its end.
``pmemsave`` copies guest memory, so its time follows from a size; ``/dev/null`` takes it, so
that nothing is left behind.
"""

from __future__ import annotations

import time
from typing import Final

from vmjitter.inject.hands import Hands
from vmjitter.units import NS_PER_MS

_TRIAL_BYTES: Final = 1 << 20
_MOST_BYTES: Final = 256 << 20
_FIRST: Final = 1 << 20
"""Below lie the BIOS and video memory, part of which QEMU would have to emulate."""

READ_NS: Final = 3 * NS_PER_MS // 2
"""So long QEMU's monitor takes to read a command in the simulated host, without the lock."""


def calibrate(hands: Hands, _length_ns: int) -> None:
    """Find out how much memory is copied in a millisecond, once."""
    if hands.lock_bytes_per_ms:
        return
    times = []
    for size in (_TRIAL_BYTES, 2 * _TRIAL_BYTES):
        begin_ns = time.monotonic_ns()
        _send(hands, size)
        hands.qemu.wait()
        times.append(time.monotonic_ns() - begin_ns)
    per_trial_ns = max(1, times[1] - times[0])
    hands.lock_bytes_per_ms = _TRIAL_BYTES * NS_PER_MS // per_trial_ns


def begin_to_hold(hands: Hands, length_ns: int) -> int:
    """Send the command; returns when, to be followed by `end_of_hold`."""
    size = max(1, hands.lock_bytes_per_ms * length_ns // NS_PER_MS)
    begin_ns = time.monotonic_ns()
    _send(hands, min(size, _MOST_BYTES))
    return begin_ns


def end_of_hold(hands: Hands) -> int:
    """Wait for the command's end; returns when it was."""
    hands.qemu.wait()
    return time.monotonic_ns()


def _send(hands: Hands, size: int) -> None:
    hands.qemu.send("pmemsave", val=_FIRST, size=size, filename="/dev/null")
