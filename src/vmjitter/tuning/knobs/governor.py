"""Frequency of the processor."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="governor-performance",
    effect="the processor keeps its highest frequency",
    files=(("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor", "performance"),),
    absent="no cpufreq driver, as in most virtual machines",
    worth="tuned, profile latency-performance",
    risk="more heat, which may lower the highest frequency",
)
