"""A thread with real-time priority on the CPU of the probe's virtual CPU."""

from __future__ import annotations

from typing import Final

from vmjitter.inject.hands import Hands
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.units import NS_PER_MS


def _inject(hands: Hands, length_ns: int) -> Done:
    return [("cpu-hog", *hands.hog(hands.vcpu_tid, length_ns))]


KIND: Final = Kind(
    name="cpu-hog",
    what="a FIFO thread has the virtual CPU's CPU",
    length_ns=2 * NS_PER_MS,
    # halted, it is woken and has to queue; else it is taken off the CPU
    causes=frozenset({"preempted", "run-queue"}),
    inject=_inject,
)
