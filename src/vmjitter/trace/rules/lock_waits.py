"""The waits of the virtual CPU for QEMU's locks, for the rules that look at the holder."""

from __future__ import annotations

from collections.abc import Iterator

from vmjitter.trace.intervals import Interval, clip
from vmjitter.trace.locks import Wait
from vmjitter.trace.rules.rule import Look
from vmjitter.trace.thread_states import State


def own_waits(look: Look) -> Iterator[tuple[Interval, Wait]]:
    """Stretches of the window in which the thread waited for a lock."""
    for wait in look.scene.locks.waits.within(look.window.interval):
        part = clip((wait.start, wait.end), look.window.interval)
        if part is not None and wait.tid == look.scene.tid:
            yield part, wait


def holder_states(look: Look, part: Interval, wait: Wait) -> Iterator[tuple[Interval, State]]:
    """What the holder of the lock did meanwhile."""
    states = look.scene.states.get(wait.holder_tid)
    for state in states.within(part) if states is not None else ():
        both = clip((state.start, state.end), part)
        if both is not None:
            yield both, state


def lock_name(look: Look, wait: Wait) -> str:
    """The lock for people."""
    return "the big lock" if wait.lock == look.scene.locks.big else "a lock"
