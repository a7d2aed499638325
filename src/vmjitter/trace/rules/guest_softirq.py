"""The guest did deferred work of its interrupts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.guest_served import guest_served
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    return guest_served(look, "softirq")


RULE: Final = Rule(
    cause="guest-softirq",
    title="softirq of the guest",
    side=Side.GUEST,
    needs=needs("guest:softirq_entry guest:softirq_noise"),
    find=_find,
    crosses=False,
    knobs=("virtio-net", "vhost-net"),
    advice="a PREEMPT_RT kernel in the guest runs them in threads",
)
