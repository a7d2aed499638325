"""Two at once: the big lock is held, and before it is free a hog takes the virtual CPU's CPU."""

from __future__ import annotations

from typing import Final

from vmjitter.inject.hands import Hands
from vmjitter.inject.kinds.holding import READ_NS, begin_to_hold, calibrate, end_of_hold
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.units import NS_PER_MS

_HELD_NS: Final = 3 * NS_PER_MS
_BEFORE_NS: Final = READ_NS + 2 * NS_PER_MS


def _inject(hands: Hands, length_ns: int) -> Done:
    begin_ns = begin_to_hold(hands, _HELD_NS)
    hands.sleep_until(begin_ns + _BEFORE_NS)
    free_ns: list[int] = []

    def watch(now_ns: int) -> None:
        """The lock becomes free while this program is the hog: when?"""
        if not free_ns and hands.qemu.answered():
            free_ns.append(now_ns)

    hog = hands.hog(hands.vcpu_tid, length_ns, watch)
    end_ns = end_of_hold(hands)
    return [("lock", begin_ns, free_ns[0] if free_ns else end_ns), ("cpu-hog", *hog)]


KIND: Final = Kind(
    name="two",
    what="the big lock held for 3 ms, and from 2 ms on a hog on the virtual CPU's CPU",
    length_ns=2 * NS_PER_MS,
    causes=frozenset({"lock-wait", "preempted", "run-queue"}),
    inject=_inject,
    prepare=calibrate,
)
