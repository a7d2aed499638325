"""The disk image through the host's page cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, cache="writeback")


KNOB: Final = LaunchKnob(
    name="cache-writeback",
    effect="the disk image goes through the host's page cache (cache=writeback), where vmjitter's "
    "default bypasses it; the guest's flushes are still heeded",
    shape=_shape,
    worth="requests end in the host's memory: quick, until the host writes them back",
    risk="writing back happens at any time and disturbs the guest; aio-native has no effect",
)
