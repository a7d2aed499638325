"""Automatic NUMA balancing."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="numa-balancing-off",
    effect="the kernel no longer unmaps memory to find out who uses it",
    files=(("/proc/sys/kernel/numa_balancing", "0"),),
    absent="the kernel was built without CONFIG_NUMA_BALANCING",
    worth="thousands of invalidations per second went to none (cloud-hypervisor issue 7574)",
    risk="memory is no longer moved to the node that uses it",
)
