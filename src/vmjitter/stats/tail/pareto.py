"""The generalised Pareto law of what exceeds a threshold: likelihood, fit and limits.

Above a high threshold the excess ``y`` of the latest wake-ups over it follows, in the limit, the
law with the survival function ``S(y) = (1 + shape * y / scale) ** (-1 / shape)`` (Pickands,
Statistical inference using extreme order statistics, Annals of Statistics 3, 1975).  A shape below
0 means an end point, 0 the exponential law, above 0 a tail that falls by a power.

A latency is known to its resolution only, so each excess contributes the probability of its
*interval*: ties then do no harm, and the likelihood is bounded, which the one of densities is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]

SHAPE_LOW: Final = -0.9
SHAPE_HIGH: Final = 0.9
"""Shapes that a fit may have; beyond them likelihood theory says nothing of use."""

_ALMOST_ZERO: Final = 1e-10
_END: Final = -1 + 1e-9
_FLAT: Final = 1e9
_DIRECTIONS: Final = 96
_FARTHEST: Final = 30.0
_STEPS: Final = 15


class Pareto(NamedTuple):
    """Shape (no unit) and scale (ns) of an excess over the threshold."""

    shape: float
    scale: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Excesses:
    """What cluster maxima exceed a threshold by, grouped by value.

    Attributes:
        low: lower edge of each distinct excess in ns, ascending, from 0.
        count: how often it occurred.
        width: resolution in ns: the excess lies in ``[low, low + width)``.
    """

    low: Floats
    count: Floats
    width: float

    @property
    def total(self) -> int:
        """Number of excesses."""
        return int(self.count.sum())

    @property
    def each(self) -> Floats:
        """Every excess in ns, ascending, for what needs single values.

        Equal ones divide the probability of their interval evenly; within an interval the law is
        taken to be exponential with the mean of all.
        """
        count = self.count.astype(np.int64)
        first = np.repeat(np.cumsum(count) - count, count)
        place = (np.arange(self.total) - first + 0.5) / np.repeat(count, count)
        low = np.repeat(self.low, count)
        mean = float(low.mean()) + self.width / 2
        return np.asarray(low - mean * np.log1p(place * np.expm1(-self.width / mean)))


def excesses(latency_ns: NDArray[np.int64], threshold_ns: int, width_ns: int) -> Excesses:
    """Group the excesses of latencies that are ``threshold_ns`` or later."""
    low, count = np.unique(latency_ns - threshold_ns, return_counts=True)
    return Excesses(low=low.astype(np.float64), count=count.astype(np.float64), width=width_ns)


def log_survival(excess: Floats | float, shape: Floats | float, scale: Floats | float) -> Floats:
    """``log S``; beyond an end point far below any probability of interest, yet finite."""
    shape = np.where(np.abs(shape) < _ALMOST_ZERO, _ALMOST_ZERO, shape)
    survival: Floats = -np.log1p(np.maximum(shape * excess / scale, _END)) / shape
    return survival


def log_likelihood(data: Excesses, shape: Floats, scale: Floats) -> Floats:
    """Log-likelihood of the intervals, for an array of shapes and one of scales (ns).

    It is minus infinity where an excess lies beyond the end point or a shape below the allowed.
    """
    possible = (shape * data.low[-1] / scale > _END) & (shape >= SHAPE_LOW)
    column, size = shape[:, np.newaxis], scale[:, np.newaxis]
    # What is left above the lower edge is a Pareto law again, of a scale that grew with the shape.
    left = np.maximum(size + column * data.low, size * (1 + _END))
    inside = np.log(-np.expm1(log_survival(data.width, column, left)))
    total: Floats = (log_survival(data.low, column, size) + inside) @ data.count
    return np.where(possible, total, -np.inf)


def by_l_moments(data: Excesses) -> Pareto:
    """Estimate from the first two L-moments.

    With ``l1`` the mean and ``l2`` half the expected distance of two excesses, the shape is
    ``2 - l1/l2`` and the scale ``l1 * (l1/l2 - 1)`` (Hosking and Wallis, Parameter and quantile
    estimation for the generalized Pareto distribution, Technometrics 29, 1987).  There must be two
    distinct excesses.
    """
    ordered = data.each
    mean = float(ordered.mean())
    rank = np.arange(len(ordered)) / (len(ordered) - 1)
    ratio = mean / (float(2 * (rank * ordered).mean()) - mean)
    return Pareto(2 - ratio, mean * (ratio - 1))


def by_likelihood(data: Excesses) -> Pareto:
    """Estimate by maximum likelihood, with the shape kept in its bounds, from the L-moments on."""
    start = by_l_moments(data)
    shape = min(max(start.shape, -0.4), 0.6)
    reach = float(data.low[-1]) + data.width
    scale = max(start.scale, 1.1 * reach * max(0.0, -shape))
    step = 1 / np.sqrt(data.total)
    simplex = [
        [shape, np.log(scale)],
        [shape + step, np.log(scale) - step],
        [shape, np.log(scale) + step],
    ]

    def cost(place: Floats) -> float:
        value = float(log_likelihood(data, place[:1], np.exp(place[1:]))[0])
        return -value if value > -_FLAT else _FLAT

    found = minimize(
        cost,
        simplex[0],
        method="Nelder-Mead",
        bounds=[(SHAPE_LOW, SHAPE_HIGH), (None, None)],
        options={"initial_simplex": simplex, "xatol": 1e-5, "fatol": 1e-6, "maxiter": 400},
    )
    return Pareto(float(found.x[0]), float(np.exp(found.x[1])))


def spread(fit: Pareto, total: int) -> Floats:
    """Lower triangular root of the asymptotic covariance of shape and log scale.

    From the expected information of a density (Smith, Maximum likelihood estimation in a class of
    nonregular cases, Biometrika 72, 1985); it only says where to look, limits come from the
    likelihood itself.
    """
    shape = max(fit.shape, -0.4)
    root = np.array([[1 + shape, 0.0], [-1.0, np.sqrt(1 + 2 * shape)]])
    return np.asarray(root / np.sqrt(total), np.float64)


def contour(data: Excesses, fit: Pareto, depth: float) -> tuple[Floats, Floats]:
    """Shapes and scales on the line where the log-likelihood is ``depth`` below its maximum.

    The profile likelihood limits of any quantity that has no extreme inside are its extremes on
    this line: a value is inside its limits if some pair with this value is inside the line
    (Venzon and Moolgavkar, A method for computing profile-likelihood-based confidence intervals,
    Applied Statistics 37, 1988).
    """
    angle = np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False)
    direction = spread(fit, data.total) @ np.stack([np.cos(angle), np.sin(angle)])
    best = float(log_likelihood(data, np.array([fit.shape]), np.array([fit.scale]))[0])

    def at(radius: Floats) -> tuple[Floats, Floats]:
        move = np.clip(direction * radius, -_FARTHEST, _FARTHEST)
        return fit.shape + move[0], fit.scale * np.exp(move[1])

    return at(_radius(lambda radius: best - log_likelihood(data, *at(radius)), depth))


def _radius(drop: Callable[[Floats], Floats], depth: float) -> Floats:
    """How far to go in each direction until the likelihood has dropped by ``depth``.

    The root of the drop grows almost in proportion to the radius, which gives the next guess;
    near an end point it does not, so every third one halves the bracket.
    """
    low, high = np.zeros(_DIRECTIONS), np.full(_DIRECTIONS, np.inf)
    radius = np.full(_DIRECTIONS, np.sqrt(2 * depth))
    for step in range(_STEPS):
        found = drop(radius)
        low, high = np.where(found < depth, radius, low), np.where(found < depth, high, radius)
        usable = np.isfinite(found) & (found > 0)
        grown = np.minimum(np.sqrt(depth / np.where(usable, found, depth)), 2)
        guess = np.clip(radius * grown, low, high)
        far = ~usable | (np.abs(found - depth) > depth / 100) & (step % 3 == 2)
        halved = np.where(np.isfinite(high), low + (np.fmin(high, 1e9) - low) / 2, 2 * radius)
        radius = np.where(far, halved, guess)
    return radius
