"""QEMU's own threads as real-time threads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    others = {one.tid for one in (*target.vcpus, *target.iothreads, *target.vhost)}
    return [(one, "fifo 1") for one in target.threads if one.tid not in others]


KNOB: Final = ThreadKnob(
    name="emulator-fifo",
    effect="QEMU's main loop and helpers run at SCHED_FIFO, priority 1, on CPUs of their own",
    medium="policy",
    choose=_choose,
    worth="emulatorsched in libvirt 5.3: a vCPU that needs QEMU's lock does not wait for a holder "
    "who waits for a CPU",
    risk="on the CPUs outside the guest, QEMU comes before everything else; use emulator-pin first",
)
