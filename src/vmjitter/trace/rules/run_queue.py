"""The virtual CPU was woken, but had to wait until it got a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.culprits import waiting_for_cpu
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    return waiting_for_cpu(look, woken=True)


RULE: Final = Rule(
    cause="run-queue",
    title="woken, then waited for the CPU",
    side=Side.HOST,
    needs=needs("host:sched_switch", "host:sched_waking host:sched_wakeup"),
    find=_find,
    knobs=("vcpu-fifo", "qemu-fifo-max", "cpu-dedicated", "halt-polling-1ms"),
)
