"""Requests that the host's disks had to serve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vmjitter.trace.events import DiskEnd, DiskStart, Event
from vmjitter.trace.spans import Spans


class DiskRequest(NamedTuple):
    """A request from its issue to its completion.

    Attributes:
        device: major and minor number, as ``8,0``.
        what: as ``block_rq_issue`` writes it: R, W, F (flush), S (synchronous) ...
    """

    start: int
    end: int
    device: str
    what: str
    sectors: int


def disk_requests(events: Iterable[Event]) -> Spans[DiskRequest]:
    """All requests that were issued and completed; the events in the order of time."""
    open_: dict[tuple[str, int], DiskRequest] = {}
    found: list[DiskRequest] = []
    for event in events:
        what = event.what
        if isinstance(what, DiskStart):
            open_[what.device, what.sector] = DiskRequest(
                event.time_ns, event.time_ns, what.device, what.what, what.sectors
            )
        elif isinstance(what, DiskEnd):
            begun = open_.pop((what.device, what.sector), None)
            if begun is not None:
                found.append(begun._replace(end=event.time_ns))
    return Spans(sorted(found))
