"""Self-check of the alignment: whatever the guest did, it did while it ran.

The method is that of trace-cmd's ``trace-checker``: ``kvm_entry`` before a guest's event before
``kvm_exit``.  Here every recorded wake-up of the probe counts as an event of the guest, too, so the
check needs no trace of the guest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vmjitter.trace.scene import Scene
from vmjitter.trace.spans import Spans
from vmjitter.trace.thread_states import Doing, State
from vmjitter.units import format_ns

FEW: Final = 10
"""With fewer events than this nothing is shown."""

TOLERATED: Final = 0.01
"""So large a share may be outside: an event may have been lost without a word."""

_RESOLUTION_NS: Final = 1_000
"""Two stamps in microseconds."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How well guest and host fit together.

    Attributes:
        checked: events of the guest that were compared.
        outside: of these, those at which it did not run, by more than the bound.
        worst_ns: the largest distance to where it ran.
        bound_ns: what the clocks allow.
    """

    checked: int
    outside: int
    worst_ns: int
    bound_ns: int

    @property
    def known(self) -> bool:
        """Whether there was enough to compare."""
        return self.checked >= FEW

    @property
    def holds(self) -> bool:
        """Nothing speaks against it; that is so, too, where nothing could be compared."""
        return not self.known or self.outside <= TOLERATED * self.checked

    @property
    def text(self) -> str:
        """The result in words."""
        if not self.known:
            return (
                f"bound {format_ns(self.bound_ns)}; not checked: only {self.checked} events of "
                "the guest fall into the trace"
            )
        if not self.outside:
            return (
                f"bound {format_ns(self.bound_ns)}; checked: all of {self.checked} events of the "
                "guest fall where the host says that it ran"
            )
        return (
            f"bound {format_ns(self.bound_ns)}; {self.outside} of {self.checked} events of the "
            f"guest while it did not run, by at most {format_ns(self.worst_ns)}"
        )


def check(scene: Scene, wakeups: Iterable[int]) -> Alignment:
    """Compare the guest's events and wake-ups with when the host says that it ran.

    Args:
        scene: the trial.
        wakeups: actual wake-ups of the probe, on the host's clock.
    """
    runs = Doing.GUEST if scene.kvm else Doing.RUNNING
    allowed = scene.bound_ns + _RESOLUTION_NS
    states = scene.watched
    alive = scene.guest.alive.items if scene.guest is not None else ()
    times = [*wakeups, *(at.start for at in alive)]
    checked = outside = worst = 0
    for time_ns in times if any(state.doing is runs for state in states.items) else ():
        distance = _distance(states, time_ns, runs)
        if distance is None:
            continue
        checked += 1
        worst = max(worst, distance)
        outside += distance > allowed
    return Alignment(checked=checked, outside=outside, worst_ns=worst, bound_ns=scene.bound_ns)


_REACH_NS: Final = 10_000_000


def _distance(states: Spans[State], time_ns: int, runs: Doing) -> int | None:
    """How far the nearest stretch is in which it ran; None where it is not known what it did."""
    here = next(states.within((time_ns, time_ns + 1)), None)
    if here is None or here.doing is Doing.UNKNOWN:
        return None
    if here.doing is runs:
        return 0
    near = [
        min(abs(state.start - time_ns), abs(time_ns - state.end))
        for state in states.within((time_ns - _REACH_NS, time_ns + _REACH_NS))
        if state.doing is runs
    ]
    return min(near, default=_REACH_NS)
