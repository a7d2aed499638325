"""The share of the wake-ups that have a latency or a later one, in two groups of trials.

The two groups are pooled for their curves.  The band around a curve has to hold for the next boot,
too, and boots differ by more than independent wake-ups would.  So it is made from the trials: the
logarithm of the odds of a share is taken of each trial, and its mean has the limits of Student's t
(4 trials have 35 different bootstrap samples, none of which is outside the range of the trials,
so a bootstrap over them would hold in 7 of 8 cases at best).  Where the counts are so small that
chance within the trials is larger than what is between them, the limits of Clopper and Pearson
("The use of confidence or fiducial limits illustrated in the case of the binomial", 1934) for the
pooled counts are wider, and are used.  Each band is for each latency by itself.

What is said about the order of the two curves goes by the trials alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from vmjitter.stats.histogram import Histogram
from vmjitter.stats.permutation import Design, critical_pairs, pairs_of

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]

_LEVELS: Final = 400
_LATEST: Final = 64
"""So many of the latest steps are all kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """The survival function of a group.

    Attributes:
        share: of the group's wake-ups that have the latency of each point or a later one.
        low: lower limit of the share in a typical trial, at each point for itself; likewise
            ``high``.
        trials: the share in each trial.
        by_trials: the band knows how trials differ; else there is one trial only, and the band
            is that of independent wake-ups.
    """

    share: Floats
    low: Floats
    high: Floats
    trials: tuple[Floats, ...]
    by_trials: bool


@dataclass(frozen=True, kw_only=True)
class Dominance:
    """Above some latency, one group has fewer wake-ups at every latency.

    Attributes:
        after: it is the group after; else it is the one before.
        above_ns: from the next latency on; None: at every latency.
        until_ns: up to which latency both are known; None: to the end.
        share_before: of the wake-ups before, later than ``above_ns``; likewise ``share_after``.
        every_trial_above_ns: above this it is so even for the group's worst trial beside the other
            group's best; None if at no latency, or if there is one trial only.
    """

    after: bool
    above_ns: int | None
    until_ns: int | None
    share_before: float
    share_after: float
    every_trial_above_ns: int | None


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The curves change their order, shown by the trials on both sides.

    Attributes:
        from_ns: the highest latency at which the old order is shown.
        to_ns: the lowest at which the new one is.
        after_lower: the new order: fewer wake-ups after than before.
    """

    from_ns: int
    to_ns: int
    after_lower: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Both survival functions at common points.

    Attributes:
        latency_ns: the points, ascending: places at which a curve steps down.
        resolution_ns: width of the widest bin; 1 for exact latencies.
    """

    latency_ns: Int64s
    before: Curve
    after: Curve
    dominance: Dominance | None
    crossings: tuple[Crossing, ...]
    resolution_ns: int


def curves(
    before: Sequence[Histogram], after: Sequence[Histogram], design: Design, *, significance: float
) -> Curves | None:
    """Compare the survival functions of two groups of trials.

    Args:
        before: one histogram per trial.
        after: likewise.
        design: how trials may be exchanged.
        significance: of the bands and of each statement on the order, e.g. 0.05.

    Returns:
        None if there is no trial on one side, or one of them has no wake-up.
    """
    if not before or not after or any(not one.total for one in (*before, *after)):
        return None
    grid = _grid((*before, *after))
    if not len(grid):
        return None
    points = grid[_thinned(_reaching((*before, *after), grid))]
    curve_before = _curve(before, points, significance)
    curve_after = _curve(after, points, significance)
    return Curves(
        latency_ns=points,
        before=curve_before,
        after=curve_after,
        dominance=_dominance(before, after, grid),
        crossings=_crossings(points, _order(curve_before, curve_after, design, significance)),
        resolution_ns=max(histogram.resolution_ns for histogram in (*before, *after)),
    )


def _grid(histograms: Sequence[Histogram]) -> Int64s:
    """Every latency at which some curve steps down, as far as all of them are known."""
    grid = np.unique(np.concatenate([histogram.low_ns for histogram in histograms]))
    limit_ns = _known_until(histograms)
    return grid if limit_ns is None else grid[grid <= limit_ns]


def _known_until(histograms: Sequence[Histogram]) -> int | None:
    return min((one.overflow_from_ns for one in histograms if one.overflow), default=None)


def _reaching(histograms: Iterable[Histogram], at_ns: Int64s) -> Int64s:
    """How many wake-ups of all of them have each of these latencies or a later one."""
    total = np.zeros(len(at_ns), np.int64)
    for histogram in histograms:
        edges, reaching = histogram.exceeding()
        total += np.append(reaching, histogram.overflow)[np.searchsorted(edges, at_ns)]
    return total


def _share(histograms: Sequence[Histogram], at_ns: Int64s) -> Floats:
    return _reaching(histograms, at_ns) / _total(histograms)


def _total(histograms: Iterable[Histogram]) -> int:
    return sum(histogram.total for histogram in histograms)


def _thinned(reaching: Int64s) -> Int64s:
    """Places that are enough to draw a curve on a logarithmic scale: its whole end among them."""
    total, least = int(reaching[0]), int(reaching[-1])
    levels = np.concatenate(
        [
            np.geomspace(total, max(1, least), _LEVELS),
            np.linspace(total, max(1, least), _LEVELS // 4),
        ]
    )
    places = np.searchsorted(-reaching, -levels)
    latest = np.arange(max(0, len(reaching) - _LATEST), len(reaching))
    return np.unique(np.concatenate([places.clip(max=len(reaching) - 1), latest]))


def _curve(histograms: Sequence[Histogram], points: Int64s, significance: float) -> Curve:
    low, high = clopper_pearson(_reaching(histograms, points), _total(histograms), significance)
    if len(histograms) > 1:
        counts = np.stack([_reaching([histogram], points) for histogram in histograms])
        totals = np.array([histogram.total for histogram in histograms])
        limits = between_trials(counts, totals, significance)
        low, high = np.minimum(low, limits[0]), np.maximum(high, limits[1])
    return Curve(
        share=_share(histograms, points),
        low=low,
        high=high,
        trials=tuple(_share([histogram], points) for histogram in histograms),
        by_trials=len(histograms) > 1,
    )


def between_trials(counts: Int64s, totals: Int64s, significance: float) -> tuple[Floats, Floats]:
    """Two-sided limits of the share in a typical trial, from how much trials differ.

    Args:
        counts: one row per trial, at least two of them; one column per latency.
        totals: wake-ups of each trial.
        significance: e.g. 0.05.

    Returns:
        Per latency the limits of the share whose log odds are the mean over all trials that might
        be measured.  Half a wake-up is added to either side, so that a trial without any that
        late has log odds, too (J. B. S. Haldane, "The estimation and significance of the
        logarithm of a ratio of frequencies", 1956).
    """
    odds = special.logit((counts + 0.5) / (totals[:, None] + 1))
    size = len(counts)
    mean = odds.mean(axis=0)
    half = stats.t.isf(significance / 2, size - 1) * odds.std(axis=0, ddof=1) / np.sqrt(size)
    return special.expit(mean - half), special.expit(mean + half)


def clopper_pearson(count: Int64s, total: int, significance: float) -> tuple[Floats, Floats]:
    """Two-sided limits of the shares that gave these counts, each for itself."""
    none, every = count == 0, count == total
    low = stats.beta.ppf(significance / 2, np.where(none, 1, count), total - count + 1)
    high = stats.beta.isf(significance / 2, count + 1, np.where(every, 1, total - count))
    return np.where(none, 0.0, low), np.where(every, 1.0, high)


def _dominance(
    before: Sequence[Histogram], after: Sequence[Histogram], grid: Int64s
) -> Dominance | None:
    share_before, share_after = _share(before, grid), _share(after, grid)
    if share_before[-1] == share_after[-1]:
        return None
    lower_after = bool(share_after[-1] < share_before[-1])
    lower, upper = (share_after, share_before) if lower_after else (share_before, share_after)
    place = _last(lower > upper)
    sides = (after, before) if lower_after else (before, after)
    return Dominance(
        after=lower_after,
        above_ns=None if place is None else int(grid[place]),
        until_ns=_known_until((*before, *after)),
        share_before=1.0 if place is None else float(share_before[place + 1]),
        share_after=1.0 if place is None else float(share_after[place + 1]),
        every_trial_above_ns=_every_trial(*sides, grid),
    )


def _every_trial(
    lower: Sequence[Histogram], upper: Sequence[Histogram], grid: Int64s
) -> int | None:
    """Above which latency the worst of one group is at no latency worse than the other's best."""
    if min(len(lower), len(upper)) < 2:
        return None
    worst, best = np.zeros(len(grid)), np.ones(len(grid))
    for histogram in lower:
        np.maximum(worst, _share([histogram], grid), out=worst)
    for histogram in upper:
        np.minimum(best, _share([histogram], grid), out=best)
    place = _last(worst > best)
    if place is None:
        return int(grid[0]) - 1
    # Above the best trial's own maximum both are zero, and nothing is said.
    return int(grid[place]) if best[place + 1 :].any() else None


def _last(found: NDArray[np.bool_]) -> int | None:
    places = np.flatnonzero(found)
    return int(places[-1]) if len(places) else None


def _crossings(points: Int64s, order: Int64s) -> tuple[Crossing, ...]:
    shown = np.flatnonzero(order)
    changes = np.flatnonzero(np.diff(order[shown]))
    return tuple(
        Crossing(
            from_ns=int(points[shown[change]]),
            to_ns=int(points[shown[change + 1]]),
            after_lower=bool(order[shown[change + 1]] < 0),
        )
        for change in changes
    )


def _order(before: Curve, after: Curve, design: Design, significance: float) -> Int64s:
    """At each point the rank test over trials: 1 more after, -1 fewer, 0 neither is shown."""
    order = np.zeros(len(before.share), np.int64)
    wrong = critical_pairs(design, significance)
    if wrong is None:
        return order
    pairs = pairs_of(design)
    above = np.zeros(len(order))
    for early, late in pairs:
        above += after.trials[late] > before.trials[early]
        above += 0.5 * (after.trials[late] == before.trials[early])
    order[above <= wrong] = -1
    order[above >= len(pairs) - wrong] = 1
    return order
