"""The guest served an interrupt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.guest_served import guest_served
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    return guest_served(look, "irq")


RULE: Final = Rule(
    cause="guest-irq",
    title="interrupt of the guest",
    side=Side.GUEST,
    needs=needs("guest:irq_handler_entry guest:local_timer_entry guest:irq_noise"),
    find=_find,
    crosses=False,
    knobs=("virtio-net", "virtio-disk", "guest-timer-migration-off"),
)
