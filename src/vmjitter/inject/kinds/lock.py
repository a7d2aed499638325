"""A slow command of the monitor, which holds QEMU's big lock."""

from __future__ import annotations

from typing import Final

from vmjitter.inject.hands import Hands
from vmjitter.inject.kinds.holding import begin_to_hold, calibrate, end_of_hold
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.units import NS_PER_MS


def _inject(hands: Hands, length_ns: int) -> Done:
    begin_ns = begin_to_hold(hands, length_ns)
    return [("lock", begin_ns, end_of_hold(hands))]


KIND: Final = Kind(
    name="lock",
    what="a slow command of the monitor holds QEMU's big lock",
    length_ns=3 * NS_PER_MS,
    causes=frozenset({"lock-wait"}),
    inject=_inject,
    prepare=calibrate,
)
