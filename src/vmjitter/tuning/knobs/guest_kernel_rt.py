"""A real-time kernel in the guest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmjitter.guest.kernels import flavour_of
from vmjitter.model.plan import Scenario
from vmjitter.tuning.knob import DeviceKnob, Needs


def _devices(scenario: Scenario) -> Scenario:
    return replace(scenario, kernel=flavour_of(scenario.kernel, real_time=True))


KNOB: Final = DeviceKnob(
    name="guest-kernel-rt",
    effect="the guest boots the PREEMPT_RT flavour of its kernel",
    devices=_devices,
    needs=Needs.GUEST,
    worth="on a real-time host, a standard kernel in the guest alone cost 1.4 to 9.5 ms "
    "(ocp-virt-cookbook issue 141)",
    risk="a real-time kernel brings less throughput; a kernel given as a file has no known flavour",
)
