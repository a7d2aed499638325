"""The steps of a wake-up inside the guest: its timer's interrupt, the waking, the switch."""

from __future__ import annotations

from typing import Final, NamedTuple

from vmjitter.trace.cpus import Turn
from vmjitter.trace.rules.rule import Look
from vmjitter.trace.thread_states import Doing

_TIMERS: Final = ("local timer", "timer", "hrtimer")
_DELIVERS: Final = frozenset({"PREEMPTION_TIMER", "EXTERNAL_INTERRUPT", "intr"})


class Moments(NamedTuple):
    """Times on the host's clock, each not beyond the window's end.

    Attributes:
        delivered: the host handed the interrupt to the guest; -1 if that was not seen.
        taken: the guest's kernel began to serve it; the window's end if it did not.
        woken: the probe could run from here on; the window's end if that was not seen.
        running: the probe ran from here on.
    """

    delivered: int
    taken: int
    woken: int
    running: int


def moments(look: Look) -> Moments:
    """Find the steps; without a guest's trace all are at the end."""
    window = look.window
    guest = look.guest
    if guest is None:
        return Moments(-1, window.end, window.end, window.end)
    early = window.start - look.scene.bound_ns
    woken = min((at.start for at in guest.wakings.between(early, window.end)), default=window.end)
    taken = min(_taken(look, early), woken)
    turns = (turn.start for turn in guest.cpu.turns.between(woken, window.end) if _own(look, turn))
    return Moments(
        _delivered(look, early, taken), max(taken, window.start), max(woken, window.start),
        max(min(turns, default=window.end), window.start),
    )  # fmt: skip


def _taken(look: Look, early: int) -> int:
    guest = look.guest
    if guest is None:
        return look.window.end
    fired = (one.start for one in guest.cpu.fired.between(early, look.window.end))
    served = (
        one.start
        for one in guest.cpu.served.between(early, look.window.end)
        if one.kind == "irq" and one.name.startswith(_TIMERS)
    )
    return min(*(min(times, default=look.window.end) for times in (fired, served)))


def _delivered(look: Look, early: int, taken: int) -> int:
    if not look.host:
        return -1
    times = [at.start for at in look.scene.injected.between(early, taken + 1)]
    if look.scene.injected.items:
        return max(min(times), look.window.start) if times else -1
    times = [
        part[1]
        for part, state in look.states(Doing.KVM)
        if state.reason in _DELIVERS and part[1] <= taken
    ]
    return max(min(times), look.window.start) if times else -1


def _own(look: Look, turn: Turn) -> bool:
    return turn.tid == look.scene.meta.probe_tid
