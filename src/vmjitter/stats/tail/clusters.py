"""Late wake-ups come in bursts: how strongly, and which of them belong together.

One disturbance makes several wake-ups late.  They are no independent evidence, so only the latest
wake-up of each burst may be fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

_SCATTER: Final = 1.645
"""Standard errors below 1 that one of twenty estimates of independent exceedances has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Bursts of wake-ups that exceed a threshold.

    Attributes:
        theta: extremal index: one divided by the mean number of wake-ups in a burst.
        run_length: two of them that are more activations apart belong to different bursts.
        start: activation with which each burst begins; ``latest_ns``: its latest wake-up.
    """

    theta: float
    run_length: int
    start: Int64s
    latest_ns: Int64s


def extremal_index(index: Int64s) -> float:
    """Estimate the extremal index from the distances of exceedances, by the intervals estimator.

    The distances are a mixture of zeros (within a burst) and an exponential law (between bursts)
    in the limit; the index follows from their first two moments (Ferro and Segers, Inference for
    clusters of extreme values, Journal of the Royal Statistical Society B 65, 2003).

    Args:
        index: activations of at least two exceedances, ascending.
    """
    gap = np.diff(index).astype(np.float64)
    if gap.max() <= 2:
        first, second = gap.sum(), (gap * gap).sum()
    else:
        first, second = (gap - 1).sum(), ((gap - 1) * (gap - 2)).sum()
    return float(min(1.0, 2 * first * first / (len(gap) * second)))


def decluster(index: Int64s, latency_ns: Int64s) -> Clusters:
    """Divide exceedances into bursts.

    Of ``N - 1`` distances the ``theta * N`` longest lie between bursts; the next longest is the run
    length (Ferro and Segers 2003).  Distances equal to it are within a burst.

    Independent exceedances have exponential distances, from whose moments follows that the
    estimate scatters about 1 with a standard error of ``1 / sqrt(N)``.  What is less than 1 only by
    that is taken to be 1: joining independent wake-ups would make the tail look lighter.

    Args:
        index: activations of at least two exceedances, ascending.
        latency_ns: their latencies.
    """
    theta = extremal_index(index)
    if theta > 1 - _SCATTER / np.sqrt(len(index)):
        theta = 1.0
    gap = np.diff(index)
    between = min(int(theta * len(index)), len(gap))
    run_length = 0
    if between < len(gap):
        place = len(gap) - 1 - between
        run_length = int(np.partition(gap, place)[place])
    first = np.concatenate([[0], np.flatnonzero(gap > run_length) + 1])
    return Clusters(
        theta=theta,
        run_length=run_length,
        start=index[first],
        latest_ns=np.maximum.reduceat(latency_ns, first),
    )
