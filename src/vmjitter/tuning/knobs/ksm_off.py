"""Kernel same-page merging."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="ksm-off",
    effect="memory of guests is neither scanned nor merged, and what was merged is taken apart",
    files=(("/sys/kernel/mm/ksm/run", "2"),),
    absent="the kernel was built without CONFIG_KSM",
    worth="no copy-on-write faults and no scanning thread (tuned, profile realtime-virtual-host)",
    risk="uses more memory",
)
