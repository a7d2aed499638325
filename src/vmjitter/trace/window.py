"""One wake-up on the host's clock."""

from __future__ import annotations

from typing import NamedTuple

from vmjitter.trace.intervals import Interval


class Window(NamedTuple):
    """The time between the planned and the actual wake-up.

    Attributes:
        activation: its number in the trial.
        start: planned time, on the host's clock, in ns.
        latency_ns: actual minus planned, above zero.
        previous_end: when the wake-up before it came, on the host's clock; 0 if it is not known.
    """

    activation: int
    start: int
    latency_ns: int
    previous_end: int = 0

    @property
    def end(self) -> int:
        """The actual wake-up: the window has exactly the length of the latency."""
        return self.start + self.latency_ns

    @property
    def interval(self) -> Interval:
        """The same as an interval."""
        return (self.start, self.end)
