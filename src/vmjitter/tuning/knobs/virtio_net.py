"""A paravirtual network device."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.model.plan import Network, Scenario
from vmjitter.tuning.knob import DeviceKnob


def _devices(scenario: Scenario) -> Scenario:
    return replace(scenario, network=Network.VIRTIO)


KNOB: Final = DeviceKnob(
    name="virtio-net",
    effect="the guest's network is a virtio device",
    devices=_devices,
    worth="one of the paper's mitigations",
)
