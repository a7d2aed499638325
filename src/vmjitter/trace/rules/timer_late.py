"""The virtual CPU was halted, and its timer woke it late."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.intervals import without
from vmjitter.trace.rules.halts import Halt, halts
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.units import format_ns


def _find(look: Look) -> Iterable[Finding]:
    for halt in halts(look):
        text = _text(look, halt)
        for part in without([halt.part], [halt.asleep] if halt.asleep else []):
            yield Finding(*part, text)


def _text(look: Look, halt: Halt) -> str:
    if halt.fired is None:
        return f"woken by {look.scene.who(halt.by)}" if halt.by > 0 else "no timer was seen"
    late_ns = halt.fired.due_ns - look.window.start
    if halt.fired.due_ns >= 0 and late_ns > look.scene.bound_ns:
        return f"{halt.fired.function} was set for {format_ns(late_ns)} after the planned time"
    return f"{halt.fired.function} came late"


RULE: Final = Rule(
    cause="timer-late",
    title="halted, and the timer came late",
    side=Side.HOST,
    needs=needs("host:sched_switch", "host:hrtimer_expire_entry"),
    find=_find,
    knobs=("timer-migration-off", "cpu-rt-flags", "kvm-pit-rr"),
)
