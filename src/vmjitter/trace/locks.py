"""Who waited for which of QEMU's locks, and who had it, from QEMU's own trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from vmjitter.trace.events import Event, LockFreed, LockTaken, LockWait, Lost
from vmjitter.trace.spans import Spans


class Wait(NamedTuple):
    """A thread waited for a lock.

    Attributes:
        tid: who waited; ``place``: the source line that asked for the lock.
        holder_tid: who had it when the wait began, or -1 if that is not known.
        holder_place: the source line at which it had been taken.
    """

    start: int
    end: int
    lock: str
    tid: int
    place: str
    holder_tid: int
    holder_place: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Locks:
    """All waits.

    Attributes:
        waits: in the order of their starts.
        big: address of the big lock: the one that most threads took, of those the one that was
            taken most often; empty if none was.
    """

    waits: Spans[Wait] = field(default_factory=lambda: Spans([]))
    big: str = ""


def locks_of(events: Iterable[Event]) -> Locks:
    """Follow all locks; the events of QEMU in the order of time.

    The holder is the last thread that took the lock and has not freed it.
    """
    asked: dict[tuple[int, str], LockWaitAt] = {}
    holders: dict[str, tuple[int, str]] = {}
    takers: dict[str, Counter[int]] = {}
    waits: list[Wait] = []
    for event in events:
        what = event.what
        if isinstance(what, LockWait):
            holder = holders.get(what.lock, (-1, ""))
            asked[event.tid, what.lock] = LockWaitAt(event.time_ns, what.place, *holder)
        elif isinstance(what, LockTaken):
            takers.setdefault(what.lock, Counter())[event.tid] += 1
            holders[what.lock] = (event.tid, what.place)
            begun = asked.pop((event.tid, what.lock), None)
            if begun is not None and event.time_ns > begun.start:
                waits.append(
                    Wait(
                        begun.start,
                        event.time_ns,
                        what.lock,
                        event.tid,
                        begun.place,
                        begun.holder_tid,
                        begun.holder_place,
                    )
                )
        elif isinstance(what, Lost):
            asked.clear()
            holders.clear()
        elif isinstance(what, LockFreed) and holders.get(what.lock, (-1, ""))[0] == event.tid:
            del holders[what.lock]
    return Locks(waits=Spans(sorted(waits)), big=_big(takers))


class LockWaitAt(NamedTuple):
    """A wait that has begun."""

    start: int
    place: str
    holder_tid: int
    holder_place: str


def _big(takers: dict[str, Counter[int]]) -> str:
    ranked = sorted(takers, key=lambda lock: (-len(takers[lock]), -takers[lock].total(), lock))
    return ranked[0] if ranked else ""
