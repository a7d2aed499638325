"""Real-time throttling in the guest."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import GuestKnob

KNOB: Final = GuestKnob(
    name="guest-rt-throttling-off",
    effect="real-time threads of the guest are never stopped",
    files=(("/proc/sys/kernel/sched_rt_runtime_us", "-1"),),
    worth="sched(7)",
    risk="a real-time thread that spins locks the guest up",
)
