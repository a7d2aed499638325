"""Machine checks in the guest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob, Needs


def _shape(machine: Machine) -> Machine:
    return replace(machine, append=f"{machine.append} mce=off")


KNOB: Final = LaunchKnob(
    name="guest-mce-off",
    effect="the guest does not poll for machine checks",
    shape=_shape,
    needs=Needs.GUEST,
    worth="ACRN, real-time tips",
)
