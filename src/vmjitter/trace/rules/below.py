"""The guest ran all along, but neither it nor the host did anything: hardware, or below."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing

LEAST_NS: Final = 20_000
"""Shorter stretches without an event are ordinary."""


def _find(look: Look) -> Iterable[Finding]:
    guest = look.guest
    if guest is None or not look.host:
        return
    for (start, end), _ in look.states(Doing.GUEST):
        times = [at.start for at in guest.alive.between(start, end)]
        edges = [start, *(time for time in times if start < time < end), end]
        for a, b in pairwise(edges):
            if b - a >= max(LEAST_NS, 2 * look.scene.bound_ns):
                yield Finding(a, b, "the guest stood still without an event on either side")


RULE: Final = Rule(
    cause="below",
    title="hardware, or a hypervisor below",
    side=Side.BELOW,
    needs=needs(
        "host:kvm_entry",
        "host:kvm_exit",
        "guest:sched_switch",
        "guest:hrtimer_expire_entry guest:local_timer_entry guest:irq_handler_entry",
    ),
    find=_find,
    advice="hwlatdetect on the host, firmware settings; where the host is a guest, its steal time",
)
