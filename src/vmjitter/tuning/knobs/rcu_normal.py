"""Expedited grace periods of RCU interrupt every CPU."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="rcu-normal",
    effect="RCU waits instead of interrupting all CPUs",
    files=(("/sys/kernel/rcu_normal", "1"),),
    absent="the kernel is too old (before 4.4) or was built for one CPU",
    worth="no interrupts from expedited grace periods (tuned, profile network-latency)",
    risk="operations that wait for RCU take longer",
)
