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
        """Missed activations."""
        return len(self.missed_index)

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
    """Digests chunk by chunk."""

    def __init__(self, size: int, deadline_ns: int | None) -> None:
        self._size = size
        self._deadline_ns = deadline_ns
        self._histogram = HistogramBuilder()
        self._count = 0
        self._rest = _NO_PLACES
        self._blocks: list[Int64s] = []
        self._peaks = np.empty((2, 0), np.int64)
        self._records: list[Int64s] = []
        self._highest = MISSED
        self._missed: list[Int64s] = []
        self._late: list[Int64s] = []

    def add(self, chunk: Int64s) -> None:
        missed = np.flatnonzero(chunk == MISSED)
        self._histogram.add(np.delete(chunk, missed) if len(missed) else chunk)
        self._missed.append(missed + self._count)
        if self._deadline_ns is not None:
            self._late.append(np.flatnonzero(chunk > self._deadline_ns) + self._count)
        self._add_peaks(chunk)
        self._add_records(chunk)
        self._count += len(chunk)
        whole = np.concatenate([self._rest, chunk]) if len(self._rest) else chunk
        cut = len(whole) // self._size * self._size
        self._add_blocks(whole[:cut].reshape(-1, self._size))
        self._rest = whole[cut:].copy()

    def _add_peaks(self, chunk: Int64s) -> None:
        full = self._peaks.shape[1] >= PEAKS
        above = np.flatnonzero(chunk > (self._peaks[1].min() if full else MISSED))
        found = np.stack([above + self._count, chunk[above]])
        both = np.concatenate([self._peaks, found], axis=1)
        if both.shape[1] > PEAKS:
            # The earlier one of two equal latencies stays, whatever the chunks are.
            order = np.lexsort((both[0], -both[1]))[:PEAKS]
            both = both[:, np.sort(order)]
        self._peaks = both

    def _add_records(self, chunk: Int64s) -> None:
        if not len(chunk) or int(chunk.max()) <= self._highest:
            return
        running = np.maximum.accumulate(chunk)
        before = np.concatenate([[self._highest], running[:-1]])  # a difference could overflow
        grown = np.flatnonzero(running > before)
        self._records.append(np.stack([grown + self._count, running[grown]]))
        self._highest = int(running[-1])

    def _add_blocks(self, rows: Int64s) -> None:
        if not rows.size:
            return
        missed = rows == MISSED
        overruns = missed.sum(axis=1)
        late = 0 if self._deadline_ns is None else (rows > self._deadline_ns).sum(axis=1)
        if overruns.any():
            low = np.where(missed, np.iinfo(np.int64).max, rows).min(axis=1)
            low = np.where(overruns == rows.shape[1], MISSED, low)
        else:
            low = rows.min(axis=1)
        self._blocks.append(np.stack([low, rows.max(axis=1), overruns + late, overruns]))

    def build(self, period_ns: int) -> Digest:
        if len(self._rest):
            self._add_blocks(self._rest.reshape(1, -1))
        table = np.concatenate([np.empty((4, 0), np.int64), *self._blocks], axis=1)
        low, high, misses, overruns = table.astype(np.int64)
        records = np.concatenate([np.empty((2, 0), np.int64), *self._records], axis=1)
        missed = np.concatenate([_NO_PLACES, *self._missed])
        late = np.concatenate([_NO_PLACES, *self._late])
        histogram = self._histogram.build() if self._count else empty_histogram()
        return Digest(
            period_ns=period_ns,
            ordered=True,
            activations=self._count,
            histogram=histogram,
            blocks=Blocks(
                size=self._size, min_ns=low, max_ns=high, misses=misses, overruns=overruns
            ),
            peak_index=self._peaks[0],
            peak_ns=self._peaks[1],
            record_index=records[0].astype(np.int64),
            record_ns=records[1].astype(np.int64),
            missed_index=missed,
            miss_index=np.sort(np.concatenate([missed, late])),
        )
