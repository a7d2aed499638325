"""The CPU did deferred work of the host's interrupts, in place or in ksoftirqd."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.rules.served import host_served


def _find(look: Look) -> Iterable[Finding]:
    return host_served(look, "softirq", "ksoftirqd/")


RULE: Final = Rule(
    cause="host-softirq",
    title="softirq of the host",
    side=Side.HOST,
    needs=needs("host:softirq_entry"),
    find=_find,
    knobs=("irqs-elsewhere", "vhost-pin", "cpu-dedicated"),
)
