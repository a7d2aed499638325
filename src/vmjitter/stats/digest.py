"""The sufficient statistics of a trial: what every judgement needs, in one pass and bounded memory.

A trial of 10^10 activations does not fit into memory; its digest does, and no statement of a report
needs more: the exact histogram, per block of activations its extremes and misses, the latest
wake-ups with their places, the records, and the place of each missed activation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmjitter.stats.histogram import (
    MISSED,
    Histogram,
    HistogramBuilder,
    empty_histogram,
)

Int64s = NDArray[np.int64]

PEAKS: Final = 1 << 15
"""So many of the latest wake-ups are kept with their places."""

_MAX_BLOCKS: Final = 1 << 17
_ROWS: Final = 1 << 18
"""So many samples at a time stay in the processor's cache from one pass to the next."""
_NO_PLACES: Final = np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """Consecutive activations, ``size`` at a time (the last block may be shorter).

    Attributes:
        max_ns: latest wake-up of each block; `MISSED` where none is.  Likewise ``min_ns``.
        misses: wake-ups later than the deadline and overruns, or overruns alone without one.
        overruns: missed activations.
    """

    size: int
    min_ns: Int64s
    max_ns: Int64s
    misses: Int64s
    overruns: Int64s


@dataclass(frozen=True, kw_only=True, eq=False)
class Digest:
    """What one trial's latencies say.

    Attributes:
        period_ns: distance of two planned wake-ups; 0 if not known.
        ordered: the order of the wake-ups is known, so all of the below exists; else only the
            histogram does.
        activations: wake-ups and overruns that were recorded.
        blocks: about a second each, or longer in a trial of more than a day and a half.
        peak_index: activation of each of the `PEAKS` latest wake-ups, ascending;
            ``peak_ns``: their latencies.
        record_index: activation at which the running maximum grew; ``record_ns``: to what.
        missed_index: every missed activation, ascending.
        miss_index: every miss of the deadline, late or overrun, ascending; without a deadline
            the same as ``missed_index``.
    """

    period_ns: int
    ordered: bool
    activations: int
    histogram: Histogram
    blocks: Blocks
    peak_index: Int64s
    peak_ns: Int64s
    record_index: Int64s
    record_ns: Int64s
    missed_index: Int64s
    miss_index: Int64s

    @property
    def overruns(self) -> int:
        """Missed activations, also where it is not known which."""
        return max(0, self.activations - self.histogram.total)

    @property
    def duration_ns(self) -> int:
        """Time that the recorded activations cover."""
        return self.activations * self.period_ns


def block_size(period_ns: int, activations: int) -> int:
    """Activations per block: those of a second, or more if there would be too many blocks."""
    second = max(1, 1_000_000_000 // period_ns) if period_ns > 0 else 1000
    return second * max(1, -(-activations // (second * _MAX_BLOCKS)))


def unordered(histogram: Histogram, *, period_ns: int = 0, overruns: int = 0) -> Digest:
    """The digest of a result that has no order, such as another tool's histogram."""
    none = Blocks(
        size=1, min_ns=_NO_PLACES, max_ns=_NO_PLACES, misses=_NO_PLACES, overruns=_NO_PLACES
    )
    return Digest(
        period_ns=period_ns,
        ordered=False,
        activations=histogram.total + overruns,
        histogram=histogram,
        blocks=none,
        **dict.fromkeys(("peak_index", "peak_ns", "record_index", "record_ns"), _NO_PLACES),
        missed_index=_NO_PLACES,
        miss_index=_NO_PLACES,
    )


def digest_of(
    chunks: Iterable[Int64s], *, period_ns: int, activations: int, deadline_ns: int | None = None
) -> Digest:
    """Digest the latencies of a trial.

    Args:
        chunks: consecutive latencies, `MISSED` for a missed activation.
        period_ns: distance of two planned wake-ups.
        activations: how many there will be; it decides how long a block is.
        deadline_ns: a wake-up later than this is a miss.
    """
    builder = _Builder(block_size(period_ns, activations), deadline_ns)
    for chunk in chunks:
        builder.add(chunk)
    return builder.build(period_ns)


class _Builder:
    """Digests chunk by chunk, with as few passes over the samples as there can be."""

    def __init__(self, size: int, deadline_ns: int | None) -> None:
        self._deadline_ns = deadline_ns
        self._histogram = HistogramBuilder()
        self._count = 0
        self._highest = MISSED
        self._blocks = _BlockBuilder(size)
        self._peaks = _PeakBuilder()
        self._records: list[Int64s] = []
        self._missed: list[Int64s] = []
        self._misses: list[Int64s] = []

    def add(self, chunk: Int64s) -> None:
        for start in range(0, len(chunk), _ROWS):
            # a column of records is not contiguous
            self._add(np.ascontiguousarray(chunk[start : start + _ROWS]))

    def _add(self, chunk: Int64s) -> None:
        missed = self._histogram.add(chunk)
        highest = int(chunk.max())
        misses = self._misses_of(chunk, highest, missed)
        self._missed.append(missed + self._count)
        self._misses.append(misses + self._count)
        self._blocks.add(chunk, missed, misses)
        self._peaks.add(chunk, highest)
        if highest > self._highest:
            self._add_records(chunk)
        self._count += len(chunk)

    def _misses_of(self, chunk: Int64s, highest: int, missed: Int64s) -> Int64s:
        if self._deadline_ns is None or highest <= self._deadline_ns:
            return missed
        late = np.flatnonzero(chunk > self._deadline_ns)
        return np.sort(np.concatenate([missed, late])) if len(missed) else late

    def _add_records(self, chunk: Int64s) -> None:
        place = np.flatnonzero(chunk > self._highest)
        running = np.maximum.accumulate(chunk[place])
        before = np.concatenate([[self._highest], running[:-1]])  # a difference could overflow
        grown = running > before
        self._records.append(np.stack([place[grown] + self._count, running[grown]]))
        self._highest = int(running[-1])

    def build(self, period_ns: int) -> Digest:
        records = np.concatenate([np.empty((2, 0), np.int64), *self._records], axis=1)
        peak_index, peak_ns = self._peaks.build()
        return Digest(
            period_ns=period_ns,
            ordered=True,
            activations=self._count,
            histogram=self._histogram.build() if self._count else empty_histogram(),
            blocks=self._blocks.build(),
            peak_index=peak_index,
            peak_ns=peak_ns,
            record_index=records[0].astype(np.int64),
            record_ns=records[1].astype(np.int64),
            missed_index=np.concatenate([_NO_PLACES, *self._missed]),
            miss_index=np.concatenate([_NO_PLACES, *self._misses]),
        )


class _PeakBuilder:
    """Keeps the `PEAKS` latest wake-ups, of equal ones the earlier."""

    def __init__(self) -> None:
        self._count = 0
        self._limit_ns = MISSED
        self._kept: list[Int64s] = []
        self._held = 0

    def add(self, chunk: Int64s, highest: int) -> None:
        if highest > self._limit_ns:
            above = np.flatnonzero(chunk > self._limit_in(chunk))
            self._kept.append(np.stack([above + self._count, chunk[above]]))
            self._held += len(above)
            if self._held > 2 * PEAKS:  # not each time: that costs more than it saves
                self._cut()
        self._count += len(chunk)

    def _limit_in(self, chunk: Int64s) -> int:
        """What is not above this is surely not among the latest."""
        if self._limit_ns > MISSED or len(chunk) <= PEAKS:
            return self._limit_ns
        return max(MISSED, int(np.partition(chunk, -PEAKS)[-PEAKS]) - 1)

    def _cut(self) -> None:
        both = np.concatenate([np.empty((2, 0), np.int64), *self._kept], axis=1)
        if both.shape[1] > PEAKS:
            value = both[1]
            self._limit_ns = int(np.partition(value, -PEAKS)[-PEAKS])
            above = np.flatnonzero(value > self._limit_ns)
            equal = np.flatnonzero(value == self._limit_ns)[: PEAKS - len(above)]
            both = both[:, np.sort(np.concatenate([above, equal]))]
        self._kept = [both]
        self._held = both.shape[1]

    def build(self) -> Int64s:
        """Activations and latencies, one row each, in the order of the activations."""
        self._cut()
        return self._kept[0]


class _BlockBuilder:
    """The extremes and misses of each block, from pieces: a chunk may end within a block."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = 0
        self._scratch = _NO_PLACES
        self._pieces: list[Int64s] = []

    def add(self, chunk: Int64s, missed: Int64s, misses: Int64s) -> None:
        """Add a chunk.

        Args:
            chunk: latencies, at least one.
            missed: places of the missed activations in it; ``misses``: of all misses.
        """
        first = self._count // self._size
        starts = np.arange(first * self._size - self._count, len(chunk), self._size)
        starts[0] = 0
        high = np.maximum.reduceat(chunk, starts)
        low = np.minimum.reduceat(self._without(chunk, missed), starts)
        counts = [
            np.bincount((places + self._count) // self._size - first, minlength=len(starts))
            for places in (misses, missed)
        ]
        number = np.arange(first, first + len(starts))
        self._pieces.append(np.stack([number, low, high, *counts]))
        self._count += len(chunk)

    def _without(self, chunk: Int64s, missed: Int64s) -> Int64s:
        """The chunk for a minimum: what was missed is later than everything."""
        if not len(missed):
            return chunk
        if len(self._scratch) < len(chunk):
            self._scratch = np.empty(len(chunk), np.int64)
        awake = self._scratch[: len(chunk)]
        np.copyto(awake, chunk)
        awake[missed] = np.iinfo(np.int64).max
        return awake

    def build(self) -> Blocks:
        """The blocks, in their order."""
        pieces = np.concatenate([np.empty((5, 0), np.int64), *self._pieces], axis=1)
        number, low, high, misses, overruns = pieces
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        if len(starts):  # reduceat takes no empty list
            low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
            misses, overruns = np.add.reduceat(misses, starts), np.add.reduceat(overruns, starts)
        return Blocks(
            size=self._size,
            min_ns=np.where(high == MISSED, MISSED, low),
            max_ns=high,
            misses=misses,
            overruns=overruns,
        )
