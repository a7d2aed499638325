"""Statistics of virtual memory are updated on every CPU."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="vmstat-rare",
    effect="the kernel's vmstat work comes every 10 s instead of every second",
    files=(("/proc/sys/vm/stat_interval", "10"),),
    absent="the kernel was built without CONFIG_SMP",
    worth="7 us on the host were over 50 us in the guest (Linux commit be5e015d107d)",
)
