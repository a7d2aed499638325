"""The network is served by the kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.model.plan import Network, Scenario
from vmjitter.tuning.knob import DeviceKnob


def _devices(scenario: Scenario) -> Scenario:
    return replace(scenario, network=Network.VIRTIO, vhost=True)


KNOB: Final = DeviceKnob(
    name="vhost-net",
    effect="packets are moved by the kernel, not by QEMU; the network becomes a virtio device",
    devices=_devices,
    worth="one of the paper's mitigations; see also microvm.nix issue 463",
)
