"""Tests that a series does not change and does not remember: small, without a random number.

All of them look at ranks, so a single enormous latency neither causes nor hides a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov, ndtri
from scipy.stats import ks_2samp, kstest, rankdata

from vmjitter.stats.digest import Digest

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]

PARTS: Final = 200
_LAGS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Change:
    """Where a series most likely changed its level.

    Attributes:
        before: so many elements are before the change.
        p_value: of a change as clear as this, or clearer, in a series that does not change.
    """

    before: int
    p_value: float


def part_maxima(digest: Digest) -> Int64s:
    """The latest wake-up of each of 200 equal parts of a trial, from the digest's peaks.

    A part without any peak counts as the smallest peak: for ranks that is all that is known and
    needed.  A part all of whose activations were missed has no wake-up and is left out.
    """
    edge = np.arange(PARTS + 1) * digest.activations // PARTS
    maxima = np.full(PARTS, digest.peak_ns.min())
    np.maximum.at(maxima, _part(edge, digest.peak_index), digest.peak_ns)
    missed = np.bincount(_part(edge, digest.missed_index), minlength=PARTS)
    return maxima[missed < np.diff(edge)]


def _part(edge: Int64s, index: Int64s) -> Int64s:
    return np.searchsorted(edge, index, side="right") - 1


def halves_differ(series: Int64s) -> float:
    """p-value that both halves of a series have the same law (Kolmogorov-Smirnov, two samples)."""
    middle = len(series) // 2
    return float(ks_2samp(series[:middle], series[middle:], method="asymp").pvalue)


def change_point(series: Int64s) -> Change:
    """Find one change of level by the cumulative sum of centred ranks.

    Its largest excursion is that of a Brownian bridge if nothing changes (Pettitt, A
    non-parametric approach to the change-point problem, Applied Statistics 28, 1979, with the
    scatter of tied ranks taken from the data).
    """
    rank = rankdata(series)
    scatter = float(rank.std())
    if scatter == 0:
        return Change(before=0, p_value=1.0)
    path = np.abs(np.cumsum(rank - rank.mean()))[:-1]
    before = int(path.argmax()) + 1
    return Change(
        before=before,
        p_value=float(kolmogorov(path[before - 1] / (scatter * np.sqrt(len(rank))))),
    )


def unevenly_spread(index: Int64s, activations: int) -> float:
    """p-value that places are spread evenly over the activations (Kolmogorov-Smirnov)."""
    return float(kstest((index + 0.5) / activations, "uniform", method="asymp").pvalue)


def remembers(series: Int64s) -> float:
    """p-value that elements do not depend on the ten before them.

    Ljung and Box, On a measure of lack of fit in time series models, Biometrika 65, 1978, on the
    normal scores of the ranks, since squares of heavy-tailed latencies have no usable law.
    """
    score: Floats = ndtri(rankdata(series) / (len(series) + 1))
    score = score - score.mean()
    power = float(score @ score)
    if power == 0:
        return 1.0
    lags = np.arange(1, min(_LAGS, len(series) // 5) + 1)
    correlation = np.array([score[lag:] @ score[:-lag] for lag in lags]) / power
    weight = len(series) * (len(series) + 2) / (len(series) - lags)
    return float(chdtrc(len(lags), float(weight @ correlation**2)))
