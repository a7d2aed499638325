"""Migration of timers in the guest."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import GuestKnob

KNOB: Final = GuestKnob(
    name="guest-timer-migration-off",
    effect="a timer of the guest stays on the CPU that set it",
    files=(("/proc/sys/kernel/timer_migration", "0"),),
    worth="tuned, profile network-latency",
)
