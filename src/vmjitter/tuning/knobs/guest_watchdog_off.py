"""Lock-up detectors of the guest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob, Needs


def _shape(machine: Machine) -> Machine:
    return replace(machine, append=f"{machine.append} nowatchdog")


KNOB: Final = LaunchKnob(
    name="guest-watchdog-off",
    effect="the guest's detectors of lock-ups are off",
    shape=_shape,
    needs=Needs.GUEST,
    worth="fewer timers in the guest",
)
