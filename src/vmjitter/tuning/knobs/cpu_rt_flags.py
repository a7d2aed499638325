"""Flags of the guest's processor."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, cpu_flags=(*machine.cpu_flags, "+tsc-deadline", "+invtsc", "pmu=off"))


KNOB: Final = LaunchKnob(
    name="cpu-rt-flags",
    effect="the guest sees a constant TSC with its deadline timer, and no performance counters",
    shape=_shape,
    needs_kvm=True,
    worth="required by the libvirt knowledge base and by RHEL for real-time guests",
    risk="the guest cannot be migrated",
)
