"""Migration of timers to CPUs that are awake."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="timer-migration-off",
    effect="a timer stays on the CPU that set it",
    files=(("/proc/sys/kernel/timer_migration", "0"),),
    absent="the kernel was built without CONFIG_NO_HZ_COMMON",
    worth="tuned, profile network-latency; on kernels before 4.6 see Linux commit 61abdbe0bcc2",
    risk="idle CPUs are woken more often",
)
