"""A paravirtual disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.model.plan import Disk, Scenario
from vmjitter.tuning.knob import DeviceKnob


def _devices(scenario: Scenario) -> Scenario:
    return replace(scenario, disk=Disk.VIRTIO)


KNOB: Final = DeviceKnob(
    name="virtio-disk",
    effect="the guest's disk is a virtio device",
    devices=_devices,
    worth="one of the paper's mitigations",
)
