"""Lists of labelled spans of time, and finding those that touch a window."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from vmjitter.trace.intervals import Interval


class HasSpan(Protocol):
    """Anything with a start and an end in ns."""

    @property
    def start(self) -> int:
        """In ns."""

    @property
    def end(self) -> int:
        """In ns; does not belong to it."""


S = TypeVar("S", bound=HasSpan)


@dataclass(frozen=True, eq=False)
class Spans(Generic[S]):
    """Spans in the order of their starts; they may overlap.

    Attributes:
        items: the spans.
    """

    items: Sequence[S]

    @cached_property
    def _starts(self) -> list[int]:
        return [item.start for item in self.items]

    @cached_property
    def _reach(self) -> list[int]:
        """The latest end of the items up to each one: tells how far back to look."""
        reach: list[int] = []
        latest = -1
        for item in self.items:
            latest = max(latest, item.end)
            reach.append(latest)
        return reach

    def within(self, window: Interval) -> Iterator[S]:
        """Those that share time with a window, in their order."""
        first = bisect_left(self._reach, window[0] + 1)
        last = bisect_left(self._starts, window[1])
        for item in self.items[first:last]:
            if item.end > window[0]:
                yield item

    def before(self, time_ns: int) -> S | None:
        """The last one that starts before a time, or None."""
        place = bisect_left(self._starts, time_ns)
        return self.items[place - 1] if place else None

    def between(self, start_ns: int, end_ns: int) -> Sequence[S]:
        """Those that start in [start, end)."""
        return self.items[bisect_left(self._starts, start_ns) : bisect_left(self._starts, end_ns)]
