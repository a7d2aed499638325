"""The waits of the virtual CPU for QEMU's locks, for the rules that look at the holder.

QEMU's own events tell them exactly.  Without them the host's scheduler tells nearly as much: a
virtual CPU that sleeps in QEMU's code until another thread of QEMU wakes it waited for that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmjitter.trace.intervals import Interval, clip
from vmjitter.trace.locks import Wait
from vmjitter.trace.rules.halts import waker
from vmjitter.trace.rules.rule import Look
from vmjitter.trace.thread_states import Doing, State

_OF_QEMU: Final = ("main loop", "iothread", "vcpu", "worker", "qemu")


def own_waits(look: Look) -> Iterator[tuple[Interval, Wait]]:
    """Stretches of the window in which the thread waited for a lock."""
    if "qemu:qemu_mutex_lock" not in look.scene.names:
        yield from _by_scheduler(look)
        return
    for wait in look.scene.locks.waits.within(look.window.interval):
        part = clip((wait.start, wait.end), look.window.interval)
        if part is not None and wait.tid == look.scene.tid:
            yield part, wait


def _by_scheduler(look: Look) -> Iterator[tuple[Interval, Wait]]:
    for part, state in look.states(Doing.BLOCKED):
        if state.inside is not Doing.QEMU or state.disk_sleep:
            continue
        by = waker(look, state)
        if look.scene.meta.role(by).startswith(_OF_QEMU):
            yield part, Wait(state.start, state.end, "", look.scene.tid, "", by, "")


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
