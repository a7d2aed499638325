"""How QEMU reads and writes the disk image."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return replace(machine, aio="io_uring")


KNOB: Final = LaunchKnob(
    name="aio-io-uring",
    effect="QEMU hands requests to the kernel by io_uring",
    shape=_shape,
    worth="no hand-over between threads for each request",
    risk="QEMU does not start where io_uring is forbidden (kernel.io_uring_disabled)",
)
