"""The guest's kernel had interrupts off: the timer's interrupt was there, but was not taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.cpus import interrupts
from vmjitter.trace.intervals import Interval, common, total
from vmjitter.trace.rules.guest_moments import Moments, moments
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.units import NS_PER_MS

_APIC_TIMER: Final = "apic_timer_fn"
_LONGEST_NS: Final = 10 * NS_PER_MS
"""So far before the window an interrupt may have been there already."""

LEAST_NS: Final = 20_000
"""Shorter is an interrupt's ordinary way through the kernel: x86 acknowledges it to the local APIC,
an exit of the guest, before it records that it serves it (``sysvec_apic_timer_interrupt``)."""


def _find(look: Look) -> Iterable[Finding]:
    guest = look.guest
    if guest is None:
        return
    ran = look.in_guest()
    for one in interrupts(guest.cpu, "irqs-off", look.window.interval):
        for part in common(ran, [(one.start, one.end)]):
            yield Finding(*part, f"off at {one.name}")
    steps = moments(look)
    since = _pending(look, steps)
    if 0 <= since < steps.taken < look.window.end:
        parts = common(ran, [(since, steps.taken)])
        if total(parts) >= LEAST_NS:
            for part in parts:
                yield Finding(*part, _where(look, (since, steps.taken), part))


def _pending(look: Look, steps: Moments) -> int:
    """From when on the interrupt was there; -1 if that was not seen.

    KVM hands it over only once the guest's interrupts are on, so its own timer for the guest's
    tells more, if the host recorded that: ``apic_timer_fn`` (arch/x86/kvm/lapic.c).
    """
    early = look.window.start - _LONGEST_NS
    fired = [
        one.start
        for cpu in look.scene.cpus.values()
        for one in cpu.fired.between(early, steps.taken)
        if one.function == _APIC_TIMER
    ]
    if not fired or not look.host:
        return steps.delivered
    since = max(*fired, look.window.start)
    return min(since, steps.delivered) if steps.delivered >= 0 else since


def _where(look: Look, waiting: Interval, part: Interval) -> str:
    """On the way into another interrupt and out of it they are off, too."""
    guest = look.guest
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
