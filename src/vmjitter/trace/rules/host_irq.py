"""The CPU served an interrupt of the host, in place or in the interrupt's thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.rules.served import host_served


def _find(look: Look) -> Iterable[Finding]:
    return host_served(look, "irq", "irq/")


RULE: Final = Rule(
    cause="host-irq",
    title="interrupt of the host",
    side=Side.HOST,
    needs=needs("host:irq_handler_entry host:local_timer_entry"),
    find=_find,
    knobs=("irqs-elsewhere", "cpu-dedicated"),
)
