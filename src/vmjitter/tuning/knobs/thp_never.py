"""Transparent huge pages."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="thp-never",
    effect="memory is not joined to huge pages behind the guest's back",
    files=(("/sys/kernel/mm/transparent_hugepage/enabled", "never"),),
    absent="the kernel was built without CONFIG_TRANSPARENT_HUGEPAGE",
    worth="no compaction and no khugepaged under the guest (tuned, profile network-latency)",
    risk="more TLB misses unless the guest has huge pages of its own",
)
