"""The conditions of a projection, each passed or failed with the number that decided."""

from __future__ import annotations

from typing import Final

import numpy as np

from vmjitter.stats.digest import Digest
from vmjitter.stats.tail.model import Fit, Gate, HoldOut, Threshold
from vmjitter.stats.tail.randomness import (
    change_point,
    halves_differ,
    part_maxima,
    remembers,
    unevenly_spread,
)
from vmjitter.stats.tail.threshold import (
    FEWEST_CLUSTERS,
    FEWEST_DISTINCT,
    LONGEST_NS,
    MOST_CLUSTERS,
    STOP_LEVEL,
    Bursts,
    Candidate,
)
from vmjitter.units import format_clock, format_ns

FEWEST_ACTIVATIONS: Final = 10_000
HIGHEST_SHAPE: Final = 0.5
SIGNIFICANT: Final = 0.01
LOWEST_THETA: Final = 0.05

_APART: Final = 2.576
"""Standard errors: what two estimates of the same differ by in one of a hundred cases."""


def failed(gates: list[Gate]) -> list[Gate]:
    """Those that did not pass."""
    return [gate for gate in gates if not gate.passed]


def order_gate(digest: Digest) -> Gate:
    """Are the places and times of the wake-ups known?"""
    if not digest.ordered:
        detail = "the order of the wake-ups is not known"
    elif digest.period_ns <= 0:
        detail = "the period is not known, so there is no time to project to"
    else:
        detail = (
            f"the order of the wake-ups and the period of {format_ns(digest.period_ns)} are known"
        )
    return Gate(name="order", passed=digest.ordered and digest.period_ns > 0, detail=detail)


def activations_gate(digest: Digest) -> Gate:
    """Is there enough to look at?"""
    return Gate(
        name="activations",
        passed=digest.activations >= FEWEST_ACTIVATIONS and len(digest.peak_ns) > 0,
        detail=f"{digest.activations} activations, {digest.activations - digest.overruns} of them "
        f"woke up; at least {FEWEST_ACTIVATIONS} are needed",
    )


def complete_gate(digest: Digest) -> Gate:
    """Is every late wake-up's latency known, in full and sanely?

    An overrun is explained by a wake-up before it that was late by the time up to it.  If there is
    none, as in a trial that was cut off, some latency is not known.
    """
    begin = np.flatnonzero(np.diff(digest.missed_index, prepend=-2) > 1)
    length = np.diff(np.append(begin, len(digest.missed_index)))
    before = digest.missed_index[begin] - 1
    place = np.minimum(np.searchsorted(digest.peak_index, before), len(digest.peak_index) - 1)
    # Half a period less: the clock is read before it is seen which activations have passed.
    needed_ns = length * digest.period_ns - digest.period_ns // 2
    known = (digest.peak_index[place] == before) & (digest.peak_ns[place] >= needed_ns)
    unknown, capped = int((~known).sum()), digest.histogram.overflow
    longest_ns = max(abs(int(digest.peak_ns.max())), abs(int(digest.peak_ns.min())))
    return Gate(
        name="latencies complete",
        passed=not unknown and not capped and longest_ns < LONGEST_NS,
        detail=f"{digest.overruns} overruns after {len(begin)} wake-ups, {unknown} of those not "
        f"known in full; {capped} latencies beyond a last bin; none beyond {format_ns(longest_ns)}",
    )


def stationarity_gates(digest: Digest) -> list[Gate]:
    """Did the latest wake-ups change in the course of the trial?"""
    maxima = part_maxima(digest)
    halves, change = halves_differ(maxima), change_point(maxima)
    at_ns = digest.duration_ns * change.before // len(maxima)
    where = f"; most likely at {format_clock(at_ns)}" if change.p_value < SIGNIFICANT else ""
    return [
        _tested(
            "halves alike",
            halves,
            f"maxima of {len(maxima)} parts, first half against second",
        ),
        _tested("no change", change.p_value, f"change point in the maxima of the parts{where}"),
    ]


def clusters_gate(bursts: list[Bursts]) -> Gate:
    """Are there enough independent late wake-ups?"""
    most = max((one.excesses.total for one in bursts), default=0)
    detail = f"{len(bursts)} thresholds leave {FEWEST_CLUSTERS} to {MOST_CLUSTERS} bursts"
    if bursts:
        detail += f"; the lowest leaves {most}"
    else:
        detail += " of late wake-ups"
    return Gate(name="bursts", passed=bool(bursts), detail=detail)


def resolution_gate(bursts: list[Bursts], resolution_ns: int) -> Gate:
    """Are there enough different latencies?"""
    most = max(bursts, key=lambda one: len(one.excesses.low))
    distinct, total = len(most.excesses.low), most.excesses.total
    return Gate(
        name="resolution",
        passed=distinct >= FEWEST_DISTINCT,
        detail=f"{distinct} different latencies among {total} bursts "
        f"({100 * distinct / total:.0f} %) at a resolution of {format_ns(resolution_ns)}; at least "
        f"{FEWEST_DISTINCT} are needed",
    )


def fit_gate(grid: tuple[Threshold, ...]) -> Gate:
    """Does the law fit above some threshold?"""
    chosen = next((one for one in grid if one.chosen), None)
    if chosen is None:
        best = max(one.p_value for one in grid)
        detail = f"the Pareto law is rejected above each of {len(grid)} thresholds "
        detail += f"(ForwardStop at {100 * STOP_LEVEL:g} %; the highest single p is {best:.2g})"
    else:
        detail = f"above {format_ns(chosen.threshold_ns)} A2 = {chosen.distance:.2f}, "
        detail += f"p = {chosen.p_value:.2g}, the lowest of {len(grid)} thresholds that fits"
    return Gate(name="fit", passed=chosen is not None, detail=detail)


def dependence_gates(chosen: Candidate, activations: int) -> list[Gate]:
    """Are the bursts spread evenly, and their latest wake-ups independent?"""
    found, clusters = chosen.found, chosen.bursts.clusters
    theta = f"extremal index {found.theta:.2f}: {found.exceedances / found.clusters:.1f} wake-ups"
    theta += f" per burst, bursts more than {found.run_length} activations apart;"
    return [
        Gate(
            name="bursts short",
            passed=found.theta >= LOWEST_THETA,
            detail=f"{theta} the index must be {LOWEST_THETA} or more",
        ),
        _tested(
            "rate constant",
            unevenly_spread(clusters.start, activations),
            f"times of the {found.clusters} bursts, against an even spread",
        ),
        _tested(
            "independent",
            remembers(clusters.latest_ns),
            "correlation of each burst's latest wake-up with those of the ten before",
        ),
    ]


def shape_gate(fit: Fit, confidence_percent: float) -> Gate:
    """Is the tail light enough for a projection to mean something?"""
    return Gate(
        name="shape",
        passed=fit.shape_high <= HIGHEST_SHAPE,
        detail=f"shape {fit.chosen.shape:.2f}, upper limit {fit.shape_high:.2f} at "
        f"{confidence_percent:g} %; more than {HIGHEST_SHAPE} cannot be projected",
    )


def estimators_gate(fit: Fit) -> Gate:
    """Do likelihood and L-moments find the same shape?

    The likelihood uses the data best, the L-moments are less disturbed by single values; if the
    law is true, the variance of the difference is the difference of their variances (Hausman,
    Specification tests in econometrics, Econometrica 46, 1978).  Both are in Hosking and Wallis,
    Technometrics 29, 1987.
    """
    likely = fit.chosen.shape
    shape = min(max(likely, -0.45), 0.45)
    of_moments = (1 - shape) * (2 - shape) ** 2 * (1 - shape + 2 * shape**2)
    of_moments /= (1 - 2 * shape) * (3 - 2 * shape)
    error = float(np.sqrt((of_moments - (1 + shape) ** 2) / fit.chosen.clusters))
    apart = abs(fit.shape_by_moments - likely) / error
    return Gate(
        name="estimators agree",
        passed=apart <= _APART,
        detail=f"shape {likely:.2f} by likelihood, {fit.shape_by_moments:.2f} by L-moments: "
        f"{apart:.1f} standard errors apart, at most {_APART:.1f} are allowed",
    )


def holdout_gate(holdout: HoldOut | None, why: str) -> Gate:
    """Would the projection have been right about this very trial?"""
    if holdout is None:
        return Gate(name="hold-out", passed=False, detail=why)
    verb = "hit" if holdout.hit else "missed"
    return Gate(
        name="hold-out",
        passed=holdout.hit,
        detail=f"from the first {holdout.fitted_percent} % of the activations, "
        f"{format_ns(holdout.predicted_low_ns)} to {format_ns(holdout.predicted_high_ns)} was "
        f"predicted for the maximum of the rest, which is {format_ns(holdout.observed_ns)}: {verb}",
    )


def _tested(name: str, p_value: float, what: str) -> Gate:
    return Gate(
        name=name,
        passed=p_value >= SIGNIFICANT,
        detail=f"{what}: p = {p_value:.2g}, must be {SIGNIFICANT} or more",
    )
