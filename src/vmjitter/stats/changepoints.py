"""Where a series changes its level, if it does.

The level is that of the ranks, so that one enormous value neither makes nor hides a change.  Ranks
become normal scores, and the series is cut so that the sum of squares within the segments plus a
penalty for each change is least.  The minimum is exact (optimal partitioning: B. Jackson et al.,
IEEE Signal Processing Letters 12, 2005; the same that PELT finds, R. Killick et al., Journal of the
American Statistical Association 107, 2012).

A series that remembers drifts for a while without changing.  So squares are measured in units of
its long-run variance, which takes the correlation of neighbours into account.  Both come from
differences, which a few changes of level hardly touch (S. Chakar et al., Bernoulli 23, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]

SHORTEST: Final = 5
"""Fewer elements are no segment."""

PENALTY: Final = 17.0
"""What a change has to save, in units of the long-run variance; half as much more per memory of 1.

Simulated, 3000 normal series of 200 elements each, autoregressive: without a change in level one is
found in 0.1 % if neighbours are not correlated, in 0.6 % at a correlation of 0.3, in 1.1 % at 0.6,
in 3.7 % at 0.8.
"""

_STRONGEST_MEMORY: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A series in normal scores, and how much a mean of them scatters.

    Attributes:
        value: the scores.
        memory: correlation of neighbours, 0 to 0.9.
        variance: long-run variance: that of the mean of n elements is this by n.
    """

    value: Floats
    memory: float
    variance: float


def scores(series: Int64s) -> Scores:
    """Turn a series into normal scores; equal elements get equal ones.

    Args:
        series: at least four elements.
    """
    value: Floats = ndtri((rankdata(series) - 0.5) / len(series))
    one, two = (float(np.mean((value[lag:] - value[:-lag]) ** 2)) for lag in (1, 2))
    # Differences over k of an autoregressive series have the variance 2 v (1 - r^k).
    memory = min(max(two / one - 1, 0.0), _STRONGEST_MEMORY) if one > 0 else 0.0
    own = one / 2 / (1 - memory)
    return Scores(value=value, memory=memory, variance=own * (1 + memory) / (1 - memory))


def change_points(scored: Scores, *, penalty: float = PENALTY) -> tuple[int, ...]:
    """The places where the level changes: each is the number of elements before it, ascending."""
    if scored.variance == 0 or len(scored.value) < 2 * SHORTEST:
        return ()
    starts = _partition(scored.value, penalty * (1 + scored.memory / 2) * scored.variance)
    places: list[int] = []
    end = len(scored.value)
    while starts[end] > 0:
        end = int(starts[end])
        places.append(end)
    return tuple(reversed(places))


def _partition(value: Floats, penalty: float) -> Int64s:
    """For each end of a series the start of its last segment in the best partition."""
    total = np.concatenate([[0.0], np.cumsum(value)])
    best = np.full(len(value) + 1, np.inf)
    best[0] = -penalty
    starts = np.zeros(len(value) + 1, np.int64)
    for end in range(SHORTEST, len(value) + 1):
        start = np.arange(end - SHORTEST + 1)
        # The sum of the squares is the same for all partitions: only what means save counts.
        cost = best[start] - (total[end] - total[start]) ** 2 / (end - start) + penalty
        starts[end] = int(cost.argmin())
        best[end] = cost[starts[end]]
    return starts
