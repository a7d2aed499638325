"""The guest has no console."""

from __future__ import annotations

from typing import Final

from vmjitter.qemu.cmdline import Console, Machine
from vmjitter.tuning.console import with_console
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return with_console(machine, Console.NONE)


KNOB: Final = LaunchKnob(
    name="console-none",
    effect="the guest's kernel writes its messages nowhere: there is no serial port for them",
    shape=_shape,
    worth="no message costs an exit (substrate issue 1055)",
    risk="there is no console.log: of a guest that panics or does not come up only its end is "
    "known, not why",
)
