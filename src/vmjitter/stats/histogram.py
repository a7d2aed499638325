"""How many wake-ups had which latency: exact for our own samples, in bins for imported ones.

A histogram is all that quantiles, the maximum and the number of late wake-ups need, whatever the
length of the measurement; histograms of parts are added.  Samples of other tools come in bins
(cyclictest: 1 us), and some of them only as "at least so much": both is kept, so that a statement
is never finer than what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

MISSED: Final = -(1 << 63)
"""In an array of latencies: this activation was missed."""

_DENSE_LOW_NS: Final = -(1 << 16)
_DENSE_BINS: Final = (1 << 21) - _DENSE_LOW_NS
_MAX_SPARSE: Final = 1 << 22
_COARSE_BITS: Final = 10
_FEW: Final = 1 << 14
_SLICE: Final = 1 << 18
_FAR_WAITING: Final = 1 << 20


class Late(NamedTuple):
    """How many wake-ups are later than a limit, as far as the bins tell.

    ``surely`` of them are; ``possibly`` counts those, too, whose bin holds the limit.
    """

    surely: int
    possibly: int


class Quantile(NamedTuple):
    """A nearest-rank quantile.

    Attributes:
        value_ns: lower edge of its bin: the latency itself where bins are 1 ns wide, and what the
            other tool would print where they are wider.
        high_ns: highest latency that the bin stands for; None for overflow without a maximum.
        at_least: it lies among the overflow, so only a lower limit is known.
    """

    value_ns: int
    high_ns: int | None
    at_least: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """Latencies of wake-ups, by bins in ascending order; no bin is empty.

    Attributes:
        low_ns: lowest latency of each bin; ``high_ns``: its highest, included.
        count: wake-ups in each bin, all above 0.
        overflow: wakes-ups that are only known to be at ``overflow_from_ns`` or later.
        min_ns: the smallest latency, in the tool's resolution; None if there is none or it is not
            known.  Likewise ``max_ns``, which may lie among the overflow.
    """

    low_ns: Int64s
    high_ns: Int64s
    count: Int64s
    overflow: int = 0
    overflow_from_ns: int = 0
    min_ns: int | None = None
    max_ns: int | None = None

    @property
    def total(self) -> int:
        """Wake-ups, those of the overflow included."""
        return int(self.count.sum()) + self.overflow

    @property
    def resolution_ns(self) -> int:
        """Width of the widest bin in ns: 1 for exact latencies."""
        return int((self.high_ns - self.low_ns).max()) + 1 if len(self.low_ns) else 1

    @property
    def negative(self) -> int:
        """Wake-ups before their planned time."""
        return int(self.count[self.low_ns < 0].sum())

    def late(self, limit_ns: int) -> Late:
        """Count the wake-ups later than ``limit_ns``."""
        surely = int(self.count[self.low_ns > limit_ns].sum())
        possibly = int(self.count[self.high_ns > limit_ns].sum())
        if self.max_ns is not None and self.max_ns + self.resolution_ns - 1 <= limit_ns:
            return Late(0, 0)
        if not self.overflow:
            return Late(surely, possibly)
        known = self.overflow if self.overflow_from_ns > limit_ns else 0
        if not known and self.max_ns is not None and self.max_ns > limit_ns:
            known = 1  # the value itself
        return Late(surely + known, possibly + self.overflow)

    def quantile(self, share: Fraction) -> Quantile | None:
        """The smallest latency that at least ``share`` of the wake-ups do not exceed."""
        return self.at_rank(-(-share.numerator * self.total // share.denominator))

    def at_rank(self, rank: int) -> Quantile | None:
        """The latency of a rank: 1 is the smallest; None if there is no such rank."""
        if not 1 <= rank <= self.total:
            return None
        cumulative = np.cumsum(self.count)
        place = int(np.searchsorted(cumulative, rank))
        if place < len(cumulative):
            return Quantile(int(self.low_ns[place]), int(self.high_ns[place]), at_least=False)
        if rank == self.total and self.max_ns is not None:
            return Quantile(self.max_ns, self.max_ns, at_least=False)
        return Quantile(self.overflow_from_ns, self.max_ns, at_least=True)

    def exceeding(self) -> tuple[Int64s, Int64s]:
        """The survival function: edges in ascending order, and how many reach each or more."""
        from_top = np.cumsum(self.count[::-1])[::-1] + self.overflow
        return self.low_ns, from_top


def empty_histogram() -> Histogram:
    """No wake-up at all."""
    none = np.empty(0, np.int64)
    return Histogram(low_ns=none, high_ns=none, count=none)


def binned(
    counts: Iterable[tuple[int, int, int]],
    *,
    overflow: int = 0,
    overflow_from_ns: int = 0,
    min_ns: int | None = None,
    max_ns: int | None = None,
) -> Histogram:
    """A histogram from ``(low_ns, high_ns, count)`` in any order; empty bins are left out.

    Args:
        counts: bins that do not overlap; bins given twice are added.
        overflow: and the others: see `Histogram`.
    """
    merged: dict[tuple[int, int], int] = {}
    for low_ns, high_ns, count in counts:
        if count:
            merged[low_ns, high_ns] = merged.get((low_ns, high_ns), 0) + count
    table = np.array([(*edges, merged[edges]) for edges in sorted(merged)], np.int64)
    columns = table.reshape(-1, 3).T.copy()
    return Histogram(
        low_ns=columns[0],
        high_ns=columns[1],
        count=columns[2],
        overflow=overflow,
        overflow_from_ns=overflow_from_ns,
        min_ns=min_ns,
        max_ns=max_ns,
    )


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """Add histograms: of parts, of CPUs, of runs.

    An overflow starts where the lowest of them does.
    """
    parts = [part for part in histograms if part.total]
    if not parts:
        return empty_histogram()
    edges = np.concatenate([np.stack([part.low_ns, part.high_ns], 1) for part in parts])
    counts = np.concatenate([part.count for part in parts])
    distinct, place = np.unique(edges, axis=0, return_inverse=True)
    summed = np.zeros(len(distinct), np.int64)
    np.add.at(summed, place.reshape(-1), counts)
    over = [part for part in parts if part.overflow]
    lowest = [part.min_ns for part in parts if part.min_ns is not None]
    highest = [part.max_ns for part in parts if part.max_ns is not None]
    return Histogram(
        low_ns=np.ascontiguousarray(distinct[:, 0]),
        high_ns=np.ascontiguousarray(distinct[:, 1]),
        count=summed,
        overflow=sum(part.overflow for part in over),
        overflow_from_ns=min((part.overflow_from_ns for part in over), default=0),
        min_ns=min(lowest) if len(lowest) == len(parts) else None,
        max_ns=max(highest) if len(highest) == len(parts) else None,
    )


class HistogramBuilder:
    """Counts latencies, chunk by chunk, exactly, in bounded memory.

    From -65 us to 2 ms there is a counter for every nanosecond; other latencies are counted by
    value.  Only if there are more than four million different ones of those are they counted in
    bins of 1024 ns, which the histogram then says.  A few latencies are kept as they are: the
    counters take 17 MB.
    """

    def __init__(self) -> None:
        self._few: list[Int64s] = []
        self._few_waiting = 0
        self._dense = np.empty(0, np.int64)
        """One counter more than there are bins, for what has none; empty while there are few."""
        self._scratch = np.empty(0, np.int64)
        self._far: list[Int64s] = []
        self._far_waiting = 0
        self._far_ends: tuple[int, ...] = ()
        self._value = np.empty(0, np.int64)
        self._count = np.empty(0, np.int64)
        self._coarse = False

    def add(self, latency_ns: Int64s) -> Int64s:
        """Count a chunk of latencies.

        Returns:
            The places of those that are `MISSED`, ascending.  They are not counted.
        """
        if not len(self._dense):
            if self._few_waiting + len(latency_ns) <= _FEW:
                self._few.append(latency_ns.copy())
                self._few_waiting += len(latency_ns)
                return np.flatnonzero(latency_ns == MISSED)
            self._start_counting()
        return self._add_many(latency_ns)

    def _start_counting(self) -> None:
        self._dense = np.zeros(_DENSE_BINS + 1, np.int64)
        self._scratch = np.empty(_SLICE, np.int64)
        for latency_ns in self._few:
            self._add_many(latency_ns)
        self._few = []

    def _add_many(self, latency_ns: Int64s) -> Int64s:
        starts = range(0, len(latency_ns), _SLICE)
        missed = [self._add_slice(latency_ns[at : at + _SLICE]) + at for at in starts]
        return np.concatenate([np.empty(0, np.int64), *missed])

    def _add_slice(self, latency_ns: Int64s) -> Int64s:
        place = self._scratch[: len(latency_ns)]
        np.subtract(latency_ns, _DENSE_LOW_NS, out=place)
        # As unsigned numbers, those below the bins, `MISSED` among them, are above them, too.
        unsigned = place.view(np.uint64)
        np.minimum(unsigned, np.uint64(_DENSE_BINS), out=unsigned)
        np.add.at(self._dense, place, 1)  # quicker than bincount where latencies spread
        if not self._dense[_DENSE_BINS]:
            return np.empty(0, np.int64)
        self._dense[_DENSE_BINS] = 0
        outside = np.flatnonzero(place == _DENSE_BINS)
        value = latency_ns[outside]
        missed = value == MISSED
        self._add_far(value[~missed])
        gone: Int64s = outside[missed]
        return gone

    def _add_far(self, latency_ns: Int64s) -> None:
        if not len(latency_ns):
            return
        ends = (*self._far_ends, int(latency_ns.min()), int(latency_ns.max()))
        self._far_ends = (min(ends), max(ends))
        self._far.append(latency_ns)
        self._far_waiting += len(latency_ns)
        if self._far_waiting >= _FAR_WAITING:
            self._count_far()

    def _count_far(self) -> None:
        latency_ns = np.concatenate([np.empty(0, np.int64), *self._far])
        self._far, self._far_waiting = [], 0
        value = (latency_ns >> _COARSE_BITS) << _COARSE_BITS if self._coarse else latency_ns
        self._merge_sparse(*np.unique(value, return_counts=True))
        if len(self._value) > _MAX_SPARSE and not self._coarse:
            self._coarse = True
            value, count = (self._value >> _COARSE_BITS) << _COARSE_BITS, self._count
            self._value, self._count = value[:0], count[:0]
            self._merge_sparse(value, count)

    def _merge_sparse(self, value: Int64s, count: Int64s) -> None:
        both = np.concatenate([self._value, value])
        counts = np.concatenate([self._count, count])
        order = np.argsort(both, kind="stable")
        both, counts = both[order], counts[order]
        first = np.flatnonzero(np.diff(both, prepend=both[:1] - 1))
        self._value = both[first]
        self._count = np.add.reduceat(counts, first) if len(first) else counts

    def build(self) -> Histogram:
        """The histogram of everything that was added."""
        if not len(self._dense):
            return _exact(np.concatenate([np.empty(0, np.int64), *self._few]))
        self._count_far()
        place = np.flatnonzero(self._dense[:_DENSE_BINS])
        low = np.concatenate([place + _DENSE_LOW_NS, self._value]).astype(np.int64)
        width = np.ones(len(low), np.int64)
        if self._coarse:
            width[len(place) :] = 1 << _COARSE_BITS
        count = np.concatenate([self._dense[place], self._count])
        order = np.argsort(low, kind="stable")
        near = (int(at) + _DENSE_LOW_NS for at in (*place[:1], *place[-1:]))
        ends = (*self._far_ends, *near)
        return Histogram(
            low_ns=low[order],
            high_ns=(low + width - 1)[order],
            count=count[order],
            min_ns=min(ends, default=None),
            max_ns=max(ends, default=None),
        )


def _exact(latency_ns: Int64s) -> Histogram:
    value, count = np.unique(latency_ns[latency_ns != MISSED], return_counts=True)
    return Histogram(
        low_ns=value,
        high_ns=value.copy(),
        count=count.astype(np.int64),
        min_ns=int(value[0]) if len(value) else None,
        max_ns=int(value[-1]) if len(value) else None,
    )


def histogram_of(latency_ns: Int64s, *, missed: int = MISSED) -> Histogram:
    """The exact histogram of an array of latencies; missed activations are not wake-ups."""
    builder = HistogramBuilder()
    builder.add(latency_ns if missed == MISSED else latency_ns[latency_ns != missed])
    return builder.build()
