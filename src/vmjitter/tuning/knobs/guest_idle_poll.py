"""The guest's idle loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob, Needs


def _shape(machine: Machine) -> Machine:
    return replace(machine, append=f"{machine.append} idle=poll")


KNOB: Final = LaunchKnob(
    name="guest-idle-poll",
    effect="the guest's idle processor spins instead of halting",
    shape=_shape,
    needs=Needs.GUEST,
    worth="no exit for the halt, and no wake-up by the host",
    risk="its CPU is 100 % busy",
)
