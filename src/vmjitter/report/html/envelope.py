"""A long series in few columns: the smallest and the largest value of each, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmjitter.stats.digest import Digest
from vmjitter.stats.histogram import MISSED

Int64s = NDArray[np.int64]

_NOTHING = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True, eq=False)
class Envelope:
    """Extremes of consecutive activations; columns in which none woke up are left out.

    Attributes:
        start: first activation of each column; ``end``: the one after its last.
        low_ns: smallest latency; ``high_ns``: largest.
    """

    start: Int64s
    end: Int64s
    low_ns: Int64s
    high_ns: Int64s


def of_samples(latency_ns: Int64s, columns: int) -> Envelope:
    """The envelope of single samples."""
    missed = latency_ns == MISSED
    low = np.where(missed, _NOTHING, latency_ns) if missed.any() else latency_ns
    return _reduced(low, latency_ns, columns, size=1, count=len(latency_ns))


def of_digest(digest: Digest, columns: int) -> Envelope:
    """The envelope of a digest's blocks."""
    blocks = digest.blocks
    low = np.where(blocks.min_ns == MISSED, _NOTHING, blocks.min_ns)
    return _reduced(low, blocks.max_ns, columns, size=blocks.size, count=digest.activations)


def _reduced(low: Int64s, high: Int64s, columns: int, *, size: int, count: int) -> Envelope:
    edges = np.unique(np.arange(columns) * len(high) // columns)
    lowest, highest = np.minimum.reduceat(low, edges), np.maximum.reduceat(high, edges)
    awake = highest != MISSED
    ends = np.append(edges[1:], len(high))
    return Envelope(
        start=(edges * size)[awake],
        end=np.minimum(ends * size, count)[awake],
        low_ns=lowest[awake],
        high_ns=highest[awake],
    )
