"""Memory that must not be merged with that of other guests."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, machine=(*machine.machine, "mem-merge=off"))


KNOB: Final = LaunchKnob(
    name="mem-merge-off",
    effect="the guest's memory takes no part in same-page merging",
    shape=_shape,
    worth="nosharepages in the libvirt knowledge base",
)
