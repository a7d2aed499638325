"""A standard kernel in the guest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.guest.kernels import flavour_of
from vmjitter.model.plan import Scenario
from vmjitter.tuning.knob import DeviceKnob, Needs


def _devices(scenario: Scenario) -> Scenario:
    return replace(scenario, kernel=flavour_of(scenario.kernel, real_time=False))


KNOB: Final = DeviceKnob(
    name="guest-kernel-stock",
    effect="the guest boots the standard flavour of its kernel",
    devices=_devices,
    needs=Needs.GUEST,
    worth="to see what the guest's real-time kernel is worth on this host",
    risk="on a real-time host it alone cost 1.4 to 9.5 ms (ocp-virt-cookbook issue 141)",
)
