"""A projection of the latest wake-ups to a longer time: advisory, gated, checked on the trial.

The chain is the usual one of peaks over a threshold (Davison and Smith, Models for exceedances over
high thresholds, Journal of the Royal Statistical Society B 52, 1990); the gates, the limits and the
hold-out check are there because the chain alone gives a number for any data whatsoever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import ndtri

from vmjitter.errors import UsageError
from vmjitter.stats.digest import Digest
from vmjitter.stats.tail import gates as gate
from vmjitter.stats.tail.holdout import hold_out
from vmjitter.stats.tail.model import Fit, Gate, HoldOut, Level, Projection, Threshold
from vmjitter.stats.tail.pareto import Floats, by_l_moments, contour
from vmjitter.stats.tail.threshold import Candidate, Tail, choose, fitted, scan, tail_of
from vmjitter.units import NS_PER_S, format_clock

HOUR_NS: Final = 3600 * NS_PER_S
HORIZONS_NS: Final = (HOUR_NS, 24 * HOUR_NS, 365 * 24 * HOUR_NS)

FURTHEST: Final = 100
"""No projection beyond so many times the measured time."""

_CHOICE: Final = 0.2
"""Standard deviations that upper limits need because the threshold was chosen on the same data."""

NOTE: Final = (
    "Model-based projection under unchanged conditions. A level is the latency that one burst of "
    "late wake-ups exceeds on average in that time, so in about two of three such times some "
    "wake-up is later. It knows only mechanisms that occurred in the trial and takes them to act "
    "on as they did; where several mechanisms make the latest wake-ups, a rare one may be hidden "
    "among them. All wake-ups are fitted together, whatever made them late. It takes no part in "
    "the verdict."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Law:
    """A fit, and the pairs of shape and scale among which its upper limits are the highest."""

    fit: Fit
    shapes: Floats
    scales: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """What became of it."""

    gates: list[Gate]
    thresholds: tuple[Threshold, ...] = ()
    law: _Law | None = None
    holdout: HoldOut | None = None


def project(
    digest: Digest,
    *,
    horizons_ns: tuple[int, ...] = HORIZONS_NS,
    confidence_percent: float = 95.0,
) -> Projection:
    """Project a trial's latest wake-ups to longer times, if its data permit that.

    Args:
        digest: of one trial.
        horizons_ns: times of operation to project to.
        confidence_percent: of each limit, one-sided; of the hold-out's interval, two-sided.

    Raises:
        UsageError: the confidence is not above 50 % and below 100 %.
    """
    if not 50 < confidence_percent < 100:
        raise UsageError(
            f"a projection at a confidence of {confidence_percent:g} % has no upper limit",
            hint="choose more than 50 and less than 100, e.g. 95",
        )
    work = _work(digest, confidence_percent)
    refused = "; ".join(f"{one.name}: {one.detail}" for one in gate.failed(work.gates))
    return Projection(
        confidence_percent=confidence_percent,
        gates=tuple(work.gates),
        refused=refused,
        thresholds=work.thresholds,
        fit=work.law.fit if work.law else None,
        levels=tuple(
            _refused(horizon_ns, "a gate failed")
            if refused or work.law is None
            else _level(horizon_ns, work.law, digest)
            for horizon_ns in horizons_ns
        ),
        holdout=work.holdout,
        note=NOTE,
    )


def _work(digest: Digest, confidence_percent: float) -> _Work:
    """Test and fit as far as the data carry."""
    gates = [gate.order_gate(digest), gate.activations_gate(digest)]
    if gate.failed(gates):
        return _Work(gates=gates)
    gates.append(gate.complete_gate(digest))
    if gate.failed(gates):
        return _Work(gates=gates)
    gates += gate.stationarity_gates(digest)
    tail = tail_of(digest)
    bursts = scan(tail)
    gates.append(gate.clusters_gate(bursts))
    if not bursts:
        return _Work(gates=gates)
    gates.append(gate.resolution_gate(bursts, tail.resolution_ns))
    grid = fitted(bursts)
    if not grid:
        return _Work(gates=gates)
    return _fit(tail, grid, gates, confidence_percent)


def _fit(tail: Tail, grid: list[Candidate], gates: list[Gate], confidence_percent: float) -> _Work:
    place, thresholds = choose(grid)
    gates.append(gate.fit_gate(thresholds))
    law = None
    if place is not None:
        law = _law(grid[place], tail, confidence_percent)
        gates += [
            *gate.dependence_gates(grid[place], tail.activations),
            gate.shape_gate(law.fit, confidence_percent),
            gate.estimators_gate(law.fit),
        ]
    holdout, why = hold_out(tail, confidence_percent)
    gates.append(gate.holdout_gate(holdout, why))
    return _Work(gates=gates, thresholds=thresholds, law=law, holdout=holdout)


def _law(chosen: Candidate, tail: Tail, confidence_percent: float) -> _Law:
    """The fit with its limits at the confidence, each of them one-sided."""
    data = chosen.bursts.excesses
    moments = by_l_moments(data)
    normal = float(ndtri(confidence_percent / 100))
    below, _ = contour(data, chosen.pareto, normal**2 / 2)
    shapes, scales = contour(data, chosen.pareto, (normal + _shift(chosen)) ** 2 / 2)
    fit = Fit(
        chosen=replace(chosen.found, chosen=True),
        shape_low=float(below.min()),
        shape_high=float(shapes.max()),
        shape_by_moments=moments.shape,
        scale_by_moments_ns=moments.scale,
        clusters_per_activation=chosen.found.clusters / tail.activations,
        resolution_ns=tail.resolution_ns,
    )
    return _Law(fit=fit, shapes=shapes, scales=scales)


def _shift(chosen: Candidate) -> float:
    """What an upper limit needs beyond the normal quantile, in standard deviations.

    The signed root of the likelihood ratio is nearly normal with a standard deviation of 1, but
    its mean is below 0 by something that falls only with the root of the sample size: 95 % limits
    from 50 excesses hold in 90 % of the cases (DiCiccio, Martin and Stern, Simple and accurate
    one-sided inference from signed roots of likelihood ratios, Canadian Journal of Statistics 29,
    2001).  That mean was simulated for levels of 15 times the sample, with 50 to 500 excesses and
    shapes of -0.3 to 0.35.  What the choice of the threshold takes was simulated, too.
    """
    slope = min(max(2.5 - 5 * chosen.found.shape, 1.0), 4.0)
    return _CHOICE + slope / float(np.sqrt(chosen.found.clusters))


def _level(horizon_ns: int, law: _Law, digest: Digest) -> Level:
    """The level that bursts exceed once in the time on average, and its upper limit."""
    fit, measured_ns = law.fit, digest.duration_ns
    if horizon_ns > FURTHEST * measured_ns:
        return _refused(
            horizon_ns,
            f"more than {FURTHEST} times the measured time of {format_clock(measured_ns)}",
        )
    clusters = fit.clusters_per_activation * horizon_ns / digest.period_ns
    if clusters < 1:
        return _refused(horizon_ns, "so short that the measured quantiles tell it")
    value = return_level(np.array([fit.chosen.shape]), np.array([fit.chosen.scale_ns]), clusters)
    upper = return_level(law.shapes, law.scales, clusters)
    value_ns = fit.chosen.threshold_ns + round(float(value[0]))
    upper_ns = fit.chosen.threshold_ns + int(np.ceil(upper.max()))
    if horizon_ns >= measured_ns:
        # Less than what occurred already would be no limit.
        upper_ns = max(upper_ns, int(digest.peak_ns.max()) + fit.resolution_ns - 1)
    return Level(horizon_ns=horizon_ns, value_ns=value_ns, upper_ns=upper_ns)


def return_level(shape: Floats, scale: Floats, clusters: float) -> Floats:
    """The excess that one of so many bursts exceeds on average, for arrays of shapes and scales."""
    shape = np.where(np.abs(shape) < 1e-10, 1e-10, shape)
    excess: Floats = scale * np.expm1(shape * np.log(clusters)) / shape
    return excess


def _refused(horizon_ns: int, why: str) -> Level:
    return Level(horizon_ns=horizon_ns, value_ns=None, upper_ns=None, refused=why)
