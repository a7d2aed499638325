"""The check on the trial itself: does its first part predict the maximum of the rest?

Projections have been checked against far longer measurements of the same program (Real-Time Systems
Symposium 2017, doi 10.1109/RTSS.2017.00028); here each trial serves as its own longer measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from scipy.optimize import brentq

from vmjitter.stats.tail.model import HoldOut
from vmjitter.stats.tail.pareto import (
    Excesses,
    Floats,
    Pareto,
    log_likelihood,
    log_survival,
    spread,
)
from vmjitter.stats.tail.threshold import LONGEST_NS, Candidate, Tail, choose, fitted, scan

_PARTS_PERCENT: Final = (10, 25, 50)
_REACH: Final = 5.0
_STEP: Final = 0.5


def hold_out(tail: Tail, confidence_percent: float) -> tuple[HoldOut | None, str]:
    """Fit the first part, predict the maximum of the rest; else why that is impossible.

    The first part is 10 % of the activations; 25 % or 50 % if above no threshold in the smaller
    ones there are 50 bursts that a Pareto law fits.  The rule is that of the whole trial.
    """
    for percent in _PARTS_PERCENT:
        part = tail.first(tail.activations * percent // 100)
        grid = fitted(scan(part))
        place, _ = choose(grid)
        if place is not None:
            return _check(tail, part, grid[place], percent, confidence_percent), ""
    return (
        None,
        f"in the first {percent} % of the activations no threshold leaves 50 bursts and fits",
    )


def _check(
    tail: Tail, part: Tail, fit: Candidate, percent: int, confidence_percent: float
) -> HoldOut:
    times = tail.activations / part.activations - 1
    low_ns, high_ns = _predict(fit, times, confidence_percent)
    rest = tail.latency_ns[len(part.index) :]
    observed_ns = int(rest.max()) if len(rest) else tail.complete_from_ns - 1
    return HoldOut(
        fitted_percent=percent,
        predicted_low_ns=int(np.floor(low_ns)),
        predicted_high_ns=int(min(np.ceil(high_ns), LONGEST_NS)),
        observed_ns=observed_ns,
        hit=low_ns < observed_ns + tail.resolution_ns and observed_ns <= high_ns,
    )


def _predict(fit: Candidate, times: float, confidence_percent: float) -> tuple[float, float]:
    """Limits in ns between which the maximum of further activations lies at the confidence.

    Args:
        fit: of some activations.
        times: so many times more activations are to come.
        confidence_percent: the rest is divided between both ends.
    """
    outside = (1 - confidence_percent / 100) / 2
    shape, scale, weight = _plausible(fit.bursts.excesses, fit.pareto)
    clusters = fit.found.clusters

    def not_above(excess: float) -> float:
        """Probability that no burst exceeds it.

        Bursts come as a Poisson process does.  Its rate is known only from those seen, so it has
        a gamma law, and the count of bursts to come a negative binomial one; this is its zero.
        """
        survival = np.exp(log_survival(excess, shape, scale))
        return float(weight @ (1 + times * survival) ** -clusters)

    low, high = (_solve(not_above, share, fit.found.scale_ns) for share in (outside, 1 - outside))
    return fit.found.threshold_ns + low, fit.found.threshold_ns + high


def _plausible(data: Excesses, fit: Pareto) -> tuple[Floats, Floats, Floats]:
    """Shapes, scales and how plausible each pair is, from the likelihood with a flat prior.

    The prior is flat in the shape, from the lowest that a fit may have, and in the logarithm of the
    scale.  The grid reaches five standard errors in half ones, along the axes of the likelihood.
    """
    steps = np.arange(-_REACH, _REACH + _STEP, _STEP)
    grid = np.stack([place.ravel() for place in np.meshgrid(steps, steps)])
    move = spread(fit, data.total) @ grid
    shape, scale = fit.shape + move[0], fit.scale * np.exp(move[1])
    likely = log_likelihood(data, shape, scale)
    weight = np.exp(likely - likely.max())
    return shape, scale, weight / weight.sum()


def _solve(probability: Callable[[float], float], share: float, scale_ns: float) -> float:
    """The excess in ns at which a probability that grows with it reaches a share."""
    if probability(0.0) >= share:
        return 0.0
    high_ns = scale_ns
    while probability(high_ns) < share:
        high_ns *= 2
    found: float = brentq(lambda excess: probability(excess) - share, 0.0, high_ns, xtol=0.1)
    return found
