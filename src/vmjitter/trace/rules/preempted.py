"""The virtual CPU could have gone on, but another thread had its CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.culprits import waiting_for_cpu
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    return waiting_for_cpu(look, woken=False)


RULE: Final = Rule(
    cause="preempted",
    title="virtual CPU preempted",
    side=Side.HOST,
    needs=needs("host:sched_switch"),
    find=_find,
    knobs=("vcpu-fifo", "qemu-fifo-max", "cpu-dedicated", "emulator-pin"),
)
