"""A storm of interrupts on the virtual CPU's CPU: a short one every 20 us.

Each is a timer interrupt, as in `host_irq`, but of a few timers only, so that none of them alone
makes a wake-up late: what is left between them is too short for KVM to come back to the guest and
get anywhere.  When they are due is set before, in the time that the virtual CPU leaves over.

More than the CPU can serve would be another disturbance: the kernel serves what has become due
meanwhile in the same interrupt, three times over, and then leaves the timers alone for as long as
that took (``hrtimer_interrupt``, "hang", in the kernel's kernel/time/hrtimer.c).

How much of the time the interrupts have is not known from outside: what is logged is the storm.
Each of them takes the virtual CPU out of the guest, so KVM's part of it belongs to it.
"""

from __future__ import annotations

import time
from typing import Final

from vmjitter.errors import CommandFailed
from vmjitter.inject.hands import Hands, cpu_of
from vmjitter.inject.kinds.host_irq import Timers, went_off
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.units import NS_PER_MS

_APART_NS: Final = 20_000
_BUSY: Final = 0.25
"""Share of the time for the timers alone; a trace doubles it, and each interrupt costs as such."""

_TRIAL: Final = 200
_TRIES: Final = 20
_MOST: Final = 20_000
_AHEAD_NS: Final = 12 * NS_PER_MS
_SET_NS: Final = 4_000
"""About what it takes to set one; where it takes longer than both, nothing is done this time."""

_TIMERS: Final = Timers()


def _prepare(hands: Hands, length_ns: int) -> None:
    _TIMERS.make(_TRIAL)
    for _ in range(_TRIES):
        if _TIMERS.ns_each:
            break
        for begin_ns, end_ns in _go_off(hands, _TRIAL, _TRIAL):
            _TIMERS.ns_each = max(1, (end_ns - begin_ns) // _TRIAL)
    else:
        raise CommandFailed("the virtual CPU's CPU leaves no time over to set timers on it")
    _TIMERS.make(_count(length_ns))


def _group() -> int:
    return max(1, round(_BUSY * _APART_NS / _TIMERS.ns_each))


def _count(length_ns: int) -> int:
    return min(_MOST, max(1, length_ns // _APART_NS) * _group())


def _inject(hands: Hands, length_ns: int) -> Done:
    return [("interrupt-storm", *span) for span in _go_off(hands, _count(length_ns), _group())]


def _go_off(hands: Hands, count: int, group: int) -> list[tuple[int, int]]:
    """From when until when they went off; nothing if they could not be set in time."""
    due_ns = time.monotonic_ns() + _AHEAD_NS + count * _SET_NS
    with hands.idle_on(cpu_of(hands.vcpu_tid)):
        last = _TIMERS.set(count, due_ns, group=group, apart_ns=_APART_NS)
    if time.monotonic_ns() >= due_ns:
        return []
    hands.sleep_until(due_ns + (count - 1) // group * _APART_NS)
    while not went_off(last):
        time.sleep(1e-6)
    return [(due_ns, time.monotonic_ns())]


KIND: Final = Kind(
    name="interrupt-storm",
    what="short timer interrupts every 20 us on the virtual CPU's CPU",
    length_ns=2 * NS_PER_MS,
    causes=frozenset({"host-irq"}),
    beside=frozenset({"kvm-exit"}),
    inject=_inject,
    prepare=_prepare,
)
