"""How QEMU reads and writes the disk image."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, aio="native")


KNOB: Final = LaunchKnob(
    name="aio-native",
    effect="QEMU hands requests to the kernel at once instead of to threads of its own",
    shape=_shape,
    worth="no hand-over between threads for each request",
    risk="an image that does not bypass the page cache is served by threads all the same",
)
