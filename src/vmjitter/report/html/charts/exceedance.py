"""The share of the wake-ups that have a latency or a later one, both axes logarithmic."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vmjitter.report.html.svg import (
    Floats,
    Picture,
    Scale,
    across,
    log_time_labels,
    power_label,
    stairs,
    ticks,
    upwards,
)
from vmjitter.report.html.view import PageView, TrialView, exact, grouped, setting
from vmjitter.stats.histogram import Histogram
from vmjitter.stats.summary import upper_share
from vmjitter.stats.survival import clopper_pearson
from vmjitter.stats.tail import Projection

Int64s = NDArray[np.int64]

_HEIGHT: Final = 330
_POINTS: Final = 260
_LATEST: Final = 40
_LEAST_NS: Final = 100
_BANDS: Final = 2
"""With more trials than these, bands would hide each other."""

_ALIKE: Final = 2
"""Lines of numbers that differ by less would lie on each other."""

_PROJECTED: Final = 60
_TENTH: Final = Fraction(1, 10)


def exceedance_chart(view: PageView) -> Markup:
    """Draw the curves of every trial that has wake-ups."""
    trials = view.awake
    picture = Picture(height=_HEIGHT)
    x, y = _scales(view)
    picture.axis_y(
        y, [(v, power_label(v)) for v in ticks(y, 8)], "share of wake-ups as late or later"
    )
    picture.axis_x(x, log_time_labels(x), "latency, logarithmic")
    for trial in trials:
        reached = curve(trial.digest.histogram)
        if len(trials) <= _BANDS:
            _band(picture, trial, reached, x, y, view.result.target.confidence_percent)
        shares = reached[1] / trial.digest.histogram.total
        end = x.at(max(1, reached[0][-1])) if len(reached[0]) else x.start
        picture.path(stairs(x(reached[0]), y(shares), end), f"curve {trial.look}")
        _projection(picture, trial, x, y)
    _floors(picture, trials, y)
    if view.deadline_ns is not None:
        picture.limit_x(x, view.deadline_ns, f"deadline {setting(view.deadline_ns)}")
    return picture.render(_words(view))


def curve(histogram: Histogram) -> tuple[Int64s, Int64s]:
    """Edges and how many wake-ups reach each or more: enough points to draw it, its whole end."""
    edges, reaching = histogram.exceeding()
    if not len(edges):
        return edges, reaching
    levels = np.geomspace(int(reaching[0]), max(1, int(reaching[-1])), _POINTS)
    places = np.searchsorted(-reaching, -levels).clip(max=len(edges) - 1)
    latest = np.arange(max(0, len(edges) - _LATEST), len(edges))
    kept = np.unique(np.concatenate([places, latest]))
    return edges[kept], reaching[kept]


def _scales(view: PageView) -> tuple[Scale, Scale]:
    highest = [trial.result.summary.max_ns or 1 for trial in view.awake]
    levels = [level.value_ns or 1 for t in view.awake for level in t.result.analysis.tail.levels]
    lowest = [trial.digest.histogram.quantile(_TENTH) for trial in view.awake]
    low = min(max(_LEAST_NS, one.value_ns) if one else _LEAST_NS for one in lowest)
    high = max([*highest, *levels, view.deadline_ns or 1, 10 * low])
    least = min(1 / trial.digest.histogram.total for trial in view.awake)
    projected = any(
        trial.result.analysis.tail.levels and not trial.result.analysis.tail.refused
        for trial in view.awake
    )
    down = least / (100 if projected else 2)
    return across(low * 0.8, high * 1.25, log=True), upwards(down, 1.0, log=True, height=_HEIGHT)


def _band(
    picture: Picture,
    trial: TrialView,
    reached: tuple[Int64s, Int64s],
    x: Scale,
    y: Scale,
    confidence_percent: float,
) -> None:
    total = trial.digest.histogram.total
    low, high = clopper_pearson(reached[1], total, 1 - confidence_percent / 100)
    places = x(reached[0])
    there = [f"{a:.1f},{b:.1f}" for a, b in zip(places, y(high), strict=True)]
    back = [f"{a:.1f},{b:.1f}" for a, b in zip(places[::-1], y(low)[::-1], strict=True)]
    if there:
        picture.path("M" + "L".join(there + back) + "z", f"band {trial.look}")


def _projection(picture: Picture, trial: TrialView, x: Scale, y: Scale) -> None:
    tail = trial.result.analysis.tail
    values = [level.value_ns for level in tail.levels if level.value_ns is not None]
    if tail.refused or tail.fit is None or not values:
        return
    low_ns, high_ns = tail.fit.chosen.threshold_ns, max(values)
    latency = np.geomspace(max(1, low_ns), max(high_ns, low_ns + 1), _PROJECTED)
    rates = burst_rate(tail, latency)
    shown = rates > 0
    picture.polyline(x(latency[shown]), y(rates[shown]), f"projected {trial.look}")


def burst_rate(tail: Projection, latency_ns: Floats) -> Floats:
    """Bursts per activation whose latest wake-up reaches a latency, by the fitted law."""
    fit = tail.fit
    if fit is None:
        return np.zeros(len(latency_ns))
    excess = np.maximum(latency_ns - fit.chosen.threshold_ns, 0) / fit.chosen.scale_ns
    shape = fit.chosen.shape
    if abs(shape) < 1e-9:
        return np.asarray(fit.clusters_per_activation * np.exp(-excess))
    inner = np.maximum(1 + shape * excess, 0)
    with np.errstate(divide="ignore"):
        survival = np.where(inner > 0, inner ** (-1 / shape), 0.0)
    return np.asarray(fit.clusters_per_activation * survival)


def _floors(picture: Picture, trials: tuple[TrialView, ...], y: Scale) -> None:
    """What the samples cannot show: a share below 3/N may be there and not have occurred."""
    totals = sorted({trial.digest.histogram.total for trial in trials})
    apart = totals[-1] > _ALIKE * totals[0]
    for total in (totals[0], totals[-1]) if apart else totals[:1]:
        picture.limit_y(y, upper_share(total), f"3/N for N = {grouped(total)}")


def _words(view: PageView) -> str:
    parts = [
        f"{trial.name}: 1 in 100 reaches {exact(trial.result.summary.p99_ns)}, "
        f"1 in {grouped(trial.digest.histogram.total)} reaches {exact(trial.result.summary.max_ns)}"
        for trial in view.awake
    ]
    return "Exceedance of latencies. " + "; ".join(parts)
