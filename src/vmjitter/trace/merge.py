"""Several sources on one time line."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from vmjitter.trace.clock import ClockMap
from vmjitter.trace.events import Event, Lost, Source, TimerSet, What

_RANK: Final = {Source.HOST: 0, Source.QEMU: 1, Source.GUEST: 2}


def merge(*streams: Iterable[Event]) -> list[Event]:
    """All events in the order of their times, the same whatever the order of the streams.

    Equal times: host before QEMU before guest, and within one source as it wrote them.
    """
    return list(heapq.merge(*(sorted(stream, key=_key) for stream in streams), key=_key))


def _key(event: Event) -> tuple[int, int, int]:
    return (event.time_ns, _RANK[event.source], event.order)


def on_host_clock(events: Iterable[Event], clock: ClockMap) -> list[Event]:
    """The same events with their times on the host's clock."""
    place = clock.to_host
    return [
        event._replace(time_ns=place(event.time_ns), what=_moved(event.what, clock))
        for event in events
    ]


def _moved(what: What, clock: ClockMap) -> What:
    """Times within an event have to move along."""
    if isinstance(what, Lost):
        return what._replace(until_ns=clock.to_host(what.until_ns))
    if isinstance(what, TimerSet):
        return what._replace(expires_ns=clock.to_host(what.expires_ns))
    return what
