"""The latency of every wake-up over time, by the extremes of each column of pixels."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from vmjitter.report.html.svg import (
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Picture,
    Scale,
    across,
    linear_labels,
    time_unit,
    upwards,
)
from vmjitter.report.html.view import TrialView, exact, grouped, setting
from vmjitter.units import NS_PER_S

_COLUMNS: Final = WIDTH - LEFT - RIGHT
_HEADROOM: Final = 1.06
_LIMIT_IN_SCALE: Final = 1.25


def series_chart(
    trial: TrialView, *, vertical: tuple[float, float], deadline_ns: int | None
) -> Markup:
    """Draw the series of one trial.

    Args:
        trial: it has a series.
        vertical: lowest and highest latency of the axis, in ns; see `vertical_range`.
        deadline_ns: drawn as a line where it lies on the axis.
    """
    digest = trial.digest
    picture = Picture()
    end_s = digest.duration_ns / NS_PER_S
    x, y = across(0, end_s), upwards(*vertical)
    unit, word = time_unit(vertical[1])
    picture.axis_y(y, linear_labels(y, unit, most=5), f"latency ({word})")
    picture.axis_x(x, linear_labels(x), "time since the first activation (s)")
    envelope = trial.envelope(_COLUMNS)
    middle = (envelope.start + envelope.end - 1) / 2 * (digest.period_ns / NS_PER_S)
    columns = zip(x(middle), y(envelope.low_ns), y(envelope.high_ns), strict=True)
    picture.path("".join(f"M{a:.1f} {b + 0.5:.1f}V{c - 0.5:.1f}" for a, b, c in columns), "column")
    _missed(picture, trial, x)
    if deadline_ns is not None:
        picture.limit_y(y, deadline_ns, f"deadline {setting(deadline_ns)}")
    _worst(picture, trial, x, y)
    return picture.render(_words(trial))


def vertical_range(trials: tuple[TrialView, ...], deadline_ns: int | None) -> tuple[float, float]:
    """One axis for several trials: from zero, or the earliest wake-up, to the worst."""
    worst = max(1, *(trial.result.summary.max_ns or 0 for trial in trials))
    if deadline_ns is not None and worst < deadline_ns <= worst * _LIMIT_IN_SCALE:
        worst = deadline_ns
    least = min(0, *(trial.result.summary.min_ns or 0 for trial in trials))
    return least * _HEADROOM, worst * _HEADROOM


def _missed(picture: Picture, trial: TrialView, x: Scale) -> None:
    """Marks above the plot: a missed activation has no latency."""
    missed = trial.digest.missed_index
    if not len(missed):
        return
    places = sorted({round(place) for place in x(missed * (trial.digest.period_ns / NS_PER_S))})
    picture.path("".join(f"M{place} {TOP - 1}v-5" for place in places), "miss")
    words = f"{grouped(len(missed))} missed activations"
    picture.text((WIDTH - RIGHT, TOP - 11), words, "note end bad")


def _worst(picture: Picture, trial: TrialView, x: Scale, y: Scale) -> None:
    digest = trial.digest
    place = int(digest.record_index[-1]) * digest.period_ns / NS_PER_S
    right = place > 0.7 * x.high
    at = (x.at(place), y.at(int(digest.record_ns[-1])))
    picture.dot(at, "ring")
    words = f"max {exact(int(digest.record_ns[-1]))}"
    look = "note halo strong" + (" end" if right else "")
    picture.text((at[0] + (-7 if right else 7), at[1] + 4), words, look)


def _words(trial: TrialView) -> str:
    summary, digest = trial.result.summary, trial.digest
    second = int(digest.record_index[-1]) * digest.period_ns / NS_PER_S
    return (
        f"{trial.name}: latency of {grouped(summary.count)} wake-ups over "
        f"{digest.duration_ns / NS_PER_S:g} s; the latest, {exact(summary.max_ns)}, at "
        f"{second:.3f} s; {grouped(summary.overruns)} missed activations"
    )
