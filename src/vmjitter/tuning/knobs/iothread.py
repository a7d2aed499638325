"""A thread of its own for the disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.errors import MissingCapability
from vmjitter.model.plan import Disk
from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import LaunchKnob


def _shape(machine: Machine) -> Machine:
    if machine.disk is not Disk.VIRTIO:
        raise MissingCapability("only a virtio disk can have a thread of its own")
    if machine.vhost_user_blk:
        raise MissingCapability("not QEMU but qemu-storage-daemon serves the disk")
    return replace(machine, iothread=True)


KNOB: Final = LaunchKnob(
    name="iothread",
    effect="a thread of its own serves the disk, away from QEMU's main loop and its lock",
    shape=_shape,
    worth="requests no longer wait for QEMU's big lock",
)
