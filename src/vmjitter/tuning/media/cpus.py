"""The CPUs on which a thread may run."""

from __future__ import annotations

from dataclasses import dataclass

from vmjitter.effects.threads import cpu_set, read_cpus, write_cpus
from vmjitter.tuning.media.thread import tid_of, tid_or_error


@dataclass(frozen=True)
class Cpus:
    """A place is a thread, see `thread_place`; a value is e.g. "0-2,5"."""

    name: str = "cpus"
    lasting: bool = False

    def read(self, place: str) -> str | None:
        """See `Medium.read`."""
        tid = tid_of(place)
        try:
            return None if tid is None else read_cpus(tid)
        except ProcessLookupError:
            return None

    def write(self, place: str, value: str) -> None:
        """See `Medium.write`."""
        write_cpus(tid_or_error(place), value)

    def same(self, one: str, other: str) -> bool:
        """See `Medium.same`."""
        return cpu_set(one) == cpu_set(other)
