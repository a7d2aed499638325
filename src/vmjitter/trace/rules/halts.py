"""A halted virtual CPU that should have been woken at the planned time: what came when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from vmjitter.trace.cpus import Cpu, Fired, Slept, interrupts
from vmjitter.trace.intervals import Interval
from vmjitter.trace.rules.rule import Look
from vmjitter.trace.thread_states import Doing, State
from vmjitter.units import NS_PER_MS

DEEPEST_NS: Final = NS_PER_MS
"""No sleep state in use on servers takes longer to leave: beyond, it is the timer that was late."""


_SOON_NS: Final = 50_000
"""A timer that wakes a thread does so within its own interrupt."""

_TICKS: Final = frozenset({"tick_nohz_handler", "tick_sched_timer"})
"""The scheduler's own clock; it may go off at the same time (kernel/time/tick-sched.c)."""


class Halt(NamedTuple):
    """A stretch of the window in which the thread was halted.

    Attributes:
        asleep: the part of it in which the CPU that woke it left its sleep state, or None.
        fired: the timer that ended it, or None if none was seen.
        by: the thread that woke it; -1 if an interrupt did, or if that is not known.
    """

    part: Interval
    asleep: Interval | None
    fired: Fired | None
    by: int


def halts(look: Look) -> Iterator[Halt]:
    """All such stretches, each split by what the CPU did that woke the thread."""
    for part, state in look.states(Doing.HALTED):
        cpu = look.scene.cpus.get(state.by_cpu if state.by_cpu >= 0 else state.cpu)
        fired = _fired(cpu, state.end) if cpu is not None else None
        due = fired.due_ns if fired is not None else -1
        asleep = _asleep(list(cpu.slept.within(part)), part, due) if cpu is not None else None
        by = -1 if fired is not None else waker(look, state)
        yield Halt(part, asleep, fired, by)


def waker(look: Look, state: State) -> int:
    """The thread that ended a sleep; -1 if an interrupt did, or if that is not known."""
    cpu = look.scene.cpus.get(state.by_cpu)
    if cpu is not None and any(interrupts(cpu, "irq", (state.end, state.end + 1))):
        return -1
    return state.by_tid


def _fired(cpu: Cpu, woken_ns: int) -> Fired | None:
    found = [
        one
        for one in cpu.fired.between(woken_ns - _SOON_NS, woken_ns + 1)
        if one.function not in _TICKS
    ]
    return found[-1] if found else None


def _asleep(slept: list[Slept], part: Interval, due_ns: int) -> Interval | None:
    """From when the timer was due until the CPU was awake, in the last sleep before the waking."""
    if not slept:
        return None
    start = max(slept[-1].start, part[0], due_ns)
    end = min(slept[-1].end, part[1])
    return (start, end) if 0 < end - start <= DEEPEST_NS else None
