"""Ticks of the emulated interval timer that came too late."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, globals=(*machine.globals, "kvm-pit.lost_tick_policy=discard"))


KNOB: Final = LaunchKnob(
    name="pit-discard",
    effect="lost ticks of the interval timer are not delivered later, all at once",
    shape=_shape,
    needs_kvm=True,
    risk="a guest that counts ticks loses time",
)
