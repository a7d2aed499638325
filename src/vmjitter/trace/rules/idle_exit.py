"""The CPU that had to serve the timer took its time to leave its sleep state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.halts import halts
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    for halt in halts(look):
        if halt.asleep is not None:
            yield Finding(*halt.asleep, "its CPU left a sleep state")


RULE: Final = Rule(
    cause="idle-exit",
    title="the CPU left its sleep late",
    side=Side.HOST,
    needs=needs("host:sched_switch", "host:cpu_idle", "host:hrtimer_expire_entry"),
    find=_find,
    knobs=("pm-qos", "cstates-off", "halt-polling-1ms", "guest-idle-poll"),
)
