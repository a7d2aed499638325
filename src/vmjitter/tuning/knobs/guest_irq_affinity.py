"""Interrupts of the guest's devices."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import GuestKnob

KNOB: Final = GuestKnob(
    name="guest-irq-affinity",
    effect="interrupts of the guest's devices, and the softirqs that they raise, go to its vCPU 0",
    files=(
        ("/proc/irq/default_smp_affinity", "1"),
        ("/proc/irq/[0-9]*/smp_affinity_list", "0"),
    ),
    optional=True,  # the kernel keeps those of timers, and of queues that it spreads itself
    needs_vcpus=2,
    worth="a flood of packets does not run on the probe's vCPU "
    "(Documentation/core-api/irq/irq-affinity.rst)",
    risk="brings nothing to a probe that runs on vCPU 0 itself",
)
