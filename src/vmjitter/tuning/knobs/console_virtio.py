"""The guest's console is a virtio device."""

from __future__ import annotations

from typing import Final

from vmjitter.qemu.cmdline import Console, Machine
from vmjitter.tuning.console import with_console
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    return with_console(machine, Console.VIRTIO)


KNOB: Final = LaunchKnob(
    name="console-virtio",
    effect="the guest's kernel writes its messages to virtio-console, 16 bytes at a time, not to "
    "an emulated serial port, byte by byte",
    shape=_shape,
    drivers=("virtio-console",),
    worth="an emulated serial port costs an exit per byte (Uros issue 567, substrate issue 1055)",
    risk="for each 16 bytes the guest spins with interrupts off until QEMU's main loop has taken "
    "them (__send_to_port in drivers/char/virtio_console.c): a main loop that cannot run beside a "
    "real-time vCPU makes a message last for ever",
)
