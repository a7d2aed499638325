"""Each virtual CPU on a CPU of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    cpus = sorted(target.host.guest_cpus)
    return [(vcpu, str(cpus[place % len(cpus)])) for place, vcpu in enumerate(target.vcpus)]


KNOB: Final = ThreadKnob(
    name="vcpu-pin",
    effect="each virtual CPU stays on one of the guest's CPUs",
    medium="cpus",
    choose=_choose,
    worth="the base of the libvirt, RHEL and SEAPATH recipes",
)
