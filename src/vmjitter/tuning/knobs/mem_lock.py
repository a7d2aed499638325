"""QEMU's memory stays in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, overcommit=(*machine.overcommit, "mem-lock=on"))


KNOB: Final = LaunchKnob(
    name="mem-lock",
    effect="none of QEMU's memory is ever swapped out",
    shape=_shape,
    worth="qemu(1), -overcommit, names lower worst-case latency as its purpose",
    risk="the memory is gone for everybody else; QEMU does not start if the limit is lower",
)
