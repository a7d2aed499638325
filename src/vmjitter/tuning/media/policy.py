"""Scheduling policy and priority of a thread."""

from __future__ import annotations

from dataclasses import dataclass

from vmjitter.effects.threads import read_policy, write_policy
from vmjitter.tuning.media.thread import tid_of, tid_or_error


@dataclass(frozen=True)
class SchedPolicy:
    """A place is a thread, see `thread_place`; a value is e.g. "fifo 50"."""

    name: str = "policy"
    lasting: bool = False

    def read(self, place: str) -> str | None:
        """See `Medium.read`."""
        tid = tid_of(place)
        try:
            return None if tid is None else read_policy(tid)
        except ProcessLookupError:
            return None

    def write(self, place: str, value: str) -> None:
        """See `Medium.write`."""
        write_policy(tid_or_error(place), value)

    def same(self, one: str, other: str) -> bool:
        """See `Medium.same`."""
        return one == other
