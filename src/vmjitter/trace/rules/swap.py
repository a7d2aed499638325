"""A page of the guest's memory had to come from a disk first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.disk import PAGE_FAULTS, outstanding
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing


def _find(look: Look) -> Iterable[Finding]:
    for part, state in look.states(Doing.BLOCKED):
        if state.inside is Doing.KVM and state.reason in PAGE_FAULTS:
            yield Finding(*part, f"a page of the guest was read from {outstanding(look, part)}")


RULE: Final = Rule(
    cause="swap",
    title="guest memory was swapped out",
    side=Side.HOST,
    needs=needs("host:sched_switch", "host:kvm_exit"),
    find=_find,
    knobs=("mem-lock", "prealloc", "huge-pages"),
)
