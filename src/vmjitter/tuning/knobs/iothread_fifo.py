"""Threads that serve a disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    return [(one, "fifo 2") for one in (*target.iothreads, *target.storage)]


KNOB: Final = ThreadKnob(
    name="iothread-fifo",
    effect="the threads that serve the guest's disk, in QEMU or in qemu-storage-daemon, run at "
    "SCHED_FIFO, priority 2",
    medium="policy",
    choose=_choose,
    worth="the completion of a request does not wait behind other work",
)
