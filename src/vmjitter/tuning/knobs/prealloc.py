"""The guest's memory is there before it is used."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, prealloc=True)


KNOB: Final = LaunchKnob(
    name="prealloc",
    effect="all of the guest's memory is touched before it starts",
    shape=_shape,
    worth="no fault on first use (vm0 issue 32475)",
)
