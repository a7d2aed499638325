"""Interrupts of devices."""

from __future__ import annotations

from typing import Final

from vmjitter.effects.threads import cpu_list
from vmjitter.tuning.knob import FileKnob, Host


def _elsewhere(host: Host) -> str:
    return cpu_list(host.other_cpus)


KNOB: Final = FileKnob(
    name="irqs-elsewhere",
    effect="interrupts of devices go to CPUs that the guest does not use",
    files=(("/proc/irq/[0-9]*/smp_affinity_list", _elsewhere),),
    needs_own_cpu=True,
    absent="no interrupt can be moved",
    optional=True,  # the kernel keeps those of queues that it manages itself
    worth="each interrupt on the guest's CPU takes it out of the guest",
)
