"""KVM handled a page fault of the second level."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.disk import PAGE_FAULTS
from vmjitter.trace.rules.registers import accessed
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing


def _find(look: Look) -> Iterable[Finding]:
    for part, state in look.states(Doing.KVM):
        if state.reason in PAGE_FAULTS and not accessed(look, state):
            yield Finding(*part, state.reason)


RULE: Final = Rule(
    cause="page-fault",
    title="second-level page fault",
    side=Side.KVM,
    needs=needs("host:kvm_exit", "host:kvm_entry"),
    find=_find,
    knobs=("mem-lock", "prealloc", "huge-pages", "numa-balancing-off", "ksm-off"),
)
