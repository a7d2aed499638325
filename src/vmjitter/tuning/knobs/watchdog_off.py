"""Lock-up detectors run a timer on every CPU."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="watchdog-off",
    effect="the kernel's detectors of lock-ups are off",
    files=(
        ("/proc/sys/kernel/nmi_watchdog", "0"),
        ("/proc/sys/kernel/soft_watchdog", "0"),
    ),
    absent="the kernel was built without CONFIG_LOCKUP_DETECTOR",
    worth="fewer interrupts on the guest's CPU (tuned, profile network-latency)",
    risk="a CPU that is locked up is no longer reported",
)
