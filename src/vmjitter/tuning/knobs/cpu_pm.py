"""The guest's processor may sleep without asking."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, overcommit=(*machine.overcommit, "cpu-pm=on"))


KNOB: Final = LaunchKnob(
    name="cpu-pm",
    effect="HLT, MWAIT and PAUSE of the guest no longer leave it",
    shape=_shape,
    needs_kvm=True,
    worth="removes the way through the host's scheduler from each wake-up",
    risk="the CPU is 100 % busy for everybody else; may be refused where KVM is nested",
)
