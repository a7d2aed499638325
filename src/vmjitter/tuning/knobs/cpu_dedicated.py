"""A promise to the guest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, cpu_flags=(*machine.cpu_flags, "kvm-hint-dedicated=on"))


KNOB: Final = LaunchKnob(
    name="cpu-dedicated",
    effect="the guest is told that its CPUs are its own, so it polls before it halts",
    shape=_shape,
    needs_kvm=True,
    worth="no paravirtual spin locks, and haltpoll in the guest",
    risk="false on a shared CPU, and then harmful",
)
