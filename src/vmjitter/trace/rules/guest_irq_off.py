"""The guest's kernel had interrupts off: the timer's interrupt was there, but was not taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.cpus import interrupts
from vmjitter.trace.intervals import Interval, common
from vmjitter.trace.rules.guest_moments import Moments, moments
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    guest = look.guest
    if guest is None:
        return
    ran = look.in_guest()
    for one in interrupts(guest.cpu, "irqs-off", look.window.interval):
        for part in common(ran, [(one.start, one.end)]):
            yield Finding(*part, f"off at {one.name}")
    steps = moments(look)
    if 0 <= steps.delivered < steps.taken < look.window.end:
        for part in common(ran, [(steps.delivered, steps.taken)]):
            yield Finding(*part, _where(look, steps, part))


def _where(look: Look, steps: Moments, part: Interval) -> str:
    """On the way into another interrupt and out of it they are off, too."""
    guest = look.guest
    waiting = (steps.delivered, steps.taken)
    others = list(interrupts(guest.cpu, "irq", waiting)) if guest is not None else []
    if others:
        return f"an interrupt was there, but was not taken; around that of {others[0].name}"
    turns = list(guest.cpu.turns.within(part)) if guest is not None else []
    if not turns:
        return "an interrupt was there, but was not taken"
    name = turns[0].comm if turns[0].tid else "the idle task"
    return f"an interrupt was there, but was not taken; in {name}"


RULE: Final = Rule(
    cause="guest-irq-off",
    title="interrupts off in the guest",
    side=Side.GUEST,
    needs=needs(
        "guest:irq_disable guest:hrtimer_expire_entry guest:local_timer_entry guest:sched_waking"
    ),
    find=_find,
    crosses=False,
    advice="find who turned them off, with irqsoff in the guest; PREEMPT_RT does so less",
)
