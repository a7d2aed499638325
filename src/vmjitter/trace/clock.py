"""Placing times of the guest and of QEMU's log on the host's clock, with a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STAMP_NS: Final = 500
"""ftrace shows microseconds, rounded (``ns2usecs``): a stamp is off by at most this."""


@dataclass(frozen=True, kw_only=True)
class ClockMap:
    """A clock against the host's CLOCK_MONOTONIC.

    Attributes:
        points: pairs of that clock's time and the host's, ascending; linear between and beyond
            them, a constant shift with a single one.
        bound_ns: the result is within this of the truth.
        note: what speaks against it; empty if nothing does.
    """

    points: tuple[tuple[int, int], ...]
    bound_ns: int
    note: str = ""

    def to_host(self, time_ns: int) -> int:
        """The host's time at a time of the clock, rounded down to the nanosecond."""
        first, last = self.points[0], self.points[-1]
        span = last[0] - first[0]
        if span <= 0:
            return time_ns - first[0] + first[1]
        return first[1] + (time_ns - first[0]) * (last[1] - first[1]) // span

    def from_host(self, host_ns: int) -> int:
        """The clock's time at a time of the host, rounded down; the inverse of `to_host`."""
        turned = ClockMap(points=tuple((b, a) for a, b in self.points), bound_ns=self.bound_ns)
        return turned.to_host(host_ns)


SAME: Final = ClockMap(points=((0, 0),), bound_ns=0)
"""The host's own clock."""


def guest_clock(offsets: Sequence[tuple[int, int, int]]) -> ClockMap | None:
    """The map of a guest's clock, or None without an offset.

    Args:
        offsets: host clock, guest minus host, and bound, each in ns, in their order.
    """
    if not offsets:
        return None
    points = tuple((host_ns + offset_ns, host_ns) for host_ns, offset_ns, _ in offsets)
    note = "" if len(offsets) > 1 else "the offset was measured once, so a drift is not seen"
    return ClockMap(points=points, bound_ns=max(bound for _, _, bound in offsets), note=note)


STEP_NS: Final = 1_000_000
"""A wall clock that moved against the monotonic one by more than this was set meanwhile."""


def wall_clock(pairs: Sequence[tuple[int, int]]) -> ClockMap | None:
    """The map of the wall clock, from pairs of CLOCK_REALTIME and CLOCK_MONOTONIC; None without."""
    if not pairs:
        return None
    moved = abs((pairs[-1][0] - pairs[0][0]) - (pairs[-1][1] - pairs[0][1]))
    note = "the wall clock was set while it was recorded" if moved > STEP_NS else ""
    return ClockMap(points=tuple(pairs), bound_ns=STAMP_NS if not note else moved, note=note)
