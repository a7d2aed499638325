"""The thread of QEMU that serves the disk loses its CPU.

The guest does not notice while it runs: it hands requests over and goes on.  Only what needs the
thread waits, its disk requests, or QEMU's main loop if it asks the thread for something.
"""

from __future__ import annotations

from typing import Final

from vmjitter.errors import CommandFailed
from vmjitter.inject.hands import Hands
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.units import NS_PER_MS


def _prepare(hands: Hands, _length_ns: int) -> None:
    found = hands.qemu.execute("query-iothreads")
    if not found:
        raise CommandFailed("QEMU has no iothread", hint='knobs = ["iothread"], disk = "virtio"')
    hands.iothread_tid = int(found[0]["thread-id"])


def _inject(hands: Hands, length_ns: int) -> Done:
    return [("iothread-starved", *hands.hog(hands.iothread_tid, length_ns))]


KIND: Final = Kind(
    name="iothread-starved",
    what="a FIFO thread has the CPU of QEMU's disk thread",
    length_ns=3 * NS_PER_MS,
    causes=frozenset({"starved"}),
    inject=_inject,
    prepare=_prepare,
)
