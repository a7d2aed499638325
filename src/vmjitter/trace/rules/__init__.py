"""One file per cause, each defines `RULE`; here the order in which they decide.

What one rule has taken, no later one gets.  The observer comes first, so that nobody else is blamed
for it; interrupts before those who were interrupted; who had the CPU before what the thread would
have done with it; what QEMU's threads did before the lock that they held; the guest's own causes
only where the guest ran; and "below" only for what is left of that.
"""

from __future__ import annotations

from typing import Final

from vmjitter.trace.rules import (
    below,
    device_emulation,
    disk,
    guest_irq,
    guest_irq_off,
    guest_softirq,
    guest_task,
    host_irq,
    host_softirq,
    idle_exit,
    kvm_exit,
    lock_wait,
    overrun,
    own_action,
    page_fault,
    preempted,
    qemu_work,
    run_queue,
    starved,
    steal_counter,
    swap,
    timer_late,
)
from vmjitter.trace.rules.rule import Rule

RULES: Final[tuple[Rule, ...]] = (
    own_action.RULE,
    overrun.RULE,
    host_irq.RULE,
    host_softirq.RULE,
    preempted.RULE,
    run_queue.RULE,
    disk.RULE,
    starved.RULE,
    lock_wait.RULE,
    idle_exit.RULE,
    timer_late.RULE,
    swap.RULE,
    page_fault.RULE,
    device_emulation.RULE,
    qemu_work.RULE,
    kvm_exit.RULE,
    guest_irq.RULE,
    guest_irq_off.RULE,
    guest_softirq.RULE,
    guest_task.RULE,
    below.RULE,
    steal_counter.RULE,
)

UNEXPLAINED: Final = "unexplained"
"""The cause of what no rule has taken."""


def rule_of(cause: str) -> Rule | None:
    """The first rule for a cause, or None."""
    return next((rule for rule in RULES if rule.cause == cause), None)
