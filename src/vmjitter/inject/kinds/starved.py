"""QEMU's main loop loses its CPU while it holds the big lock."""

from __future__ import annotations

from typing import Final

from vmjitter.inject.hands import Hands
from vmjitter.inject.kinds.holding import READ_NS, begin_to_hold, calibrate, end_of_hold
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.units import NS_PER_MS

_HELD_NS: Final = 3 * NS_PER_MS
_BEFORE_NS: Final = READ_NS + NS_PER_MS


def _inject(hands: Hands, length_ns: int) -> Done:
    begin_ns = begin_to_hold(hands, _HELD_NS)
    hands.sleep_until(begin_ns + _BEFORE_NS)
    hog_begin_ns, hog_end_ns = hands.hog(hands.main_tid, length_ns)
    end_ns = end_of_hold(hands)
    return [
        ("lock", begin_ns, hog_begin_ns),
        ("starved", hog_begin_ns, hog_end_ns),
        ("lock", hog_end_ns, end_ns),
    ]


KIND: Final = Kind(
    name="starved",
    what="a FIFO thread has the main loop's CPU while that holds the big lock",
    length_ns=3 * NS_PER_MS,
    causes=frozenset({"starved"}),
    inject=_inject,
    prepare=calibrate,
)
