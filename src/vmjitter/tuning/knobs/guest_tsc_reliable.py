"""The guest's trust in its TSC."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob, Needs


def _shape(machine: Machine) -> Machine:
    return replace(machine, append=f"{machine.append} tsc=reliable")


KNOB: Final = LaunchKnob(
    name="guest-tsc-reliable",
    effect="the guest does not compare its TSC with other clocks",
    shape=_shape,
    needs=Needs.GUEST,
    worth="no fall back to a clock that costs an exit per read (propolis issue 328)",
    risk="time is wrong where the TSC is not constant",
)
