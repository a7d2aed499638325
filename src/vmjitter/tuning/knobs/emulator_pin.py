"""QEMU's own threads away from its virtual CPUs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread, cpu_list
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    vcpus = {vcpu.tid for vcpu in target.vcpus}
    elsewhere = cpu_list(target.host.other_cpus)
    every = (*target.threads, *target.storage)
    return [(one, elsewhere) for one in every if one.tid not in vcpus]


KNOB: Final = ThreadKnob(
    name="emulator-pin",
    effect="QEMU's main loop and helpers stay on CPUs that the guest does not use; so does "
    "qemu-storage-daemon",
    medium="cpus",
    choose=_choose,
    worth="emulatorpin in the libvirt knowledge base",
)
