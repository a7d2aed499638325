"""KVM handled an exit of the guest by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.registers import accessed
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing


def _find(look: Look) -> Iterable[Finding]:
    for part, state in look.states(Doing.KVM, Doing.BLOCKED):
        if state.doing is Doing.KVM or state.inside is Doing.KVM:
            register = accessed(look, state)
            reason = state.reason or "exit not recorded"
            yield Finding(*part, f"{reason}: {register}" if register else reason)


RULE: Final = Rule(
    cause="kvm-exit",
    title="KVM handled an exit",
    side=Side.KVM,
    needs=needs("host:kvm_exit", "host:kvm_entry"),
    find=_find,
    knobs=("cpu-rt-flags", "cpu-pm", "nx-huge-pages-off", "pause-loop-exits-off"),
)
