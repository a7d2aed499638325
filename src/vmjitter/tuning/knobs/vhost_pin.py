"""Threads that serve vhost away from the virtual CPUs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread, cpu_list
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    elsewhere = cpu_list(target.host.other_cpus)
    return [(one, elsewhere) for one in target.vhost]


KNOB: Final = ThreadKnob(
    name="vhost-pin",
    effect="the threads that serve the guest's network stay on CPUs that the guest does not use",
    medium="cpus",
    choose=_choose,
    device="/dev/vhost-net",
    module="vhost_net",
    worth="since Linux 6.4 they inherit the CPUs of the thread that made them (spdk issue 3482)",
)
