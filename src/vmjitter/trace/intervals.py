"""Half-open intervals of time in integer nanoseconds: the algebra that keeps every sum exact.

A list of intervals here is sorted and without overlap, unless said otherwise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

Interval = tuple[int, int]
"""Start and end in ns; the end does not belong to it."""

_FAR: Final = 1 << 63


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Whatever is in any of them; they may overlap and come in any order."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def common(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """Whatever is in both."""
    found: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            found.append((start, end))
        if left[i][1] <= right[j][1]:
            i += 1
        else:
            j += 1
    return found


def without(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """Whatever is in ``left`` and not in ``right``."""
    found: list[Interval] = []
    j = 0
    for start, end in left:
        while j < len(right) and right[j][1] <= start:
            j += 1
        at, k = start, j
        while k < len(right) and right[k][0] < end:
            if right[k][0] > at:
                found.append((at, right[k][0]))
            at = max(at, right[k][1])
            k += 1
        if at < end:
            found.append((at, end))
    return found


def clip(interval: Interval, window: Interval) -> Interval | None:
    """The part of an interval that lies in a window, or None if there is none."""
    start, end = max(interval[0], window[0]), min(interval[1], window[1])
    return (start, end) if start < end else None


def inside(time_ns: int, intervals: Sequence[Interval]) -> bool:
    """Whether a time lies in one of them."""
    place = bisect_right(intervals, (time_ns, _FAR))
    return place > 0 and time_ns < intervals[place - 1][1]


def total(intervals: Iterable[Interval]) -> int:
    """Sum of their lengths in ns."""
    return sum(end - start for start, end in intervals)
