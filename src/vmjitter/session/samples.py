"""Samples on their way from shared memory to the trial's file, with a running maximum."""

from __future__ import annotations

import array
import sys

from vmjitter.guest import layout
from vmjitter.guest.shm import Drain, SharedMemory
from vmjitter.store.rundir import TrialWriter

_WORDS_PER_RECORD = layout.RECORD_BYTES // 8


class SampleFlow:
    """Moves records as they come; what has been moved survives us.

    Attributes:
        current_ns: latency of the last wake-up moved, or None before the first.
        worst_ns: largest so far.
        latest_ns: largest of the last move, or None if that brought no wake-up; it is the one of
            activation ``latest_activation``.
    """

    def __init__(self, shm: SharedMemory, writer: TrialWriter) -> None:
        self._shm = shm
        self._writer = writer
        self._drain = Drain(shm)
        self._begun = False
        self.current_ns: int | None = None
        self.worst_ns: int | None = None
        self.latest_ns: int | None = None
        self.latest_activation = 0

    @property
    def recorded(self) -> int:
        """Activations stored so far."""
        return self._drain.taken - self._drain.lost

    @property
    def lost(self) -> int:
        """Activations overwritten in the ring before they were taken."""
        return self._drain.lost

    def move(self) -> int:
        """Store what is new; returns how many activations that were."""
        self.latest_ns = None
        records = self._drain.take()
        if not records:
            return 0
        if not self._begun:
            self._writer.begin_samples(self._shm.stream_header())
            self._begun = True
        self._writer.append_samples(records)
        self._follow(records)
        return len(records) // layout.RECORD_BYTES

    def finish(self) -> None:
        """Store the rest, and the header again: the TSC's frequency is known now."""
        self.move()
        if self._begun:
            self._writer.update_samples_header(self._shm.stream_header())

    def _follow(self, records: bytes) -> None:
        words = array.array("q", records)
        if sys.byteorder != "little":
            words.byteswap()
        every = words[::_WORDS_PER_RECORD]
        latencies = [ns for ns in every if ns != layout.MISSED]
        if latencies:
            self.current_ns = latencies[-1]
            self.latest_ns = max(latencies)
            first = self._drain.taken - len(every)
            self.latest_activation = first + every.index(self.latest_ns)
            self.worst_ns = max(self.latest_ns, self.worst_ns or self.latest_ns)
