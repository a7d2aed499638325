"""A misaligned atomic operation that crosses two cache lines."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="split-lock-mitigation-off",
    effect="a guest is no longer made to wait 10 ms for each split lock",
    files=(("/proc/sys/kernel/split_lock_mitigate", "0"),),
    absent="this processor or kernel does not look for split locks",
    worth="10 ms per event since Linux 5.19 (BambuStudio issue 8605)",
    risk="a guest can slow down the whole machine with such operations",
)
