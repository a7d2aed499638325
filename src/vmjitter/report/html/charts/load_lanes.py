"""Operations per second of each load over the trial: the picture that proves that it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from markupsafe import Markup

from vmjitter.report.html.svg import (
    BOTTOM,
    TOP,
    WIDTH,
    Floats,
    Picture,
    Scale,
    linear_labels,
    plain_number,
)
from vmjitter.report.html.view import TrialView
from vmjitter.store.samples import LoadSeries
from vmjitter.units import NS_PER_S

_LANE: Final = 24
_POINTS: Final = 160
_NAME: Final = 112
_LABEL: Final = 104


def load_chart(trial: TrialView, loads: Sequence[LoadSeries]) -> Markup:
    """Draw a lane per load, each from zero to its highest rate, on the time of the series.

    Args:
        trial: whose loads they are.
        loads: as `measured` gives them, at least one.
    """
    picture = Picture(height=TOP + BOTTOM + _LANE * len(loads))
    end_s = max(1.0, trial.digest.duration_ns / NS_PER_S)
    x = Scale(low=0, high=end_s, start=_NAME, end=WIDTH - _LABEL)
    for place, load in enumerate(loads):
        floor = TOP + _LANE * (place + 1) - 4
        _lane(picture, load, x(trial.load_begins_ns(load) / NS_PER_S), floor)
    picture.axis_x(x, linear_labels(x), "time since the first activation (s)")
    return picture.render(_words(trial, loads))


def _lane(picture: Picture, load: LoadSeries, x: Floats, floor: float) -> None:
    """The smallest rate of each column, so that a stall of one second is seen."""
    edges = np.unique(np.arange(_POINTS) * len(load.ops) // _POINTS)
    lowest = np.minimum.reduceat(load.ops, edges).astype(np.float64)
    top = float(load.ops.max()) or 1.0
    y = Scale(low=0, high=top, start=floor, end=floor - _LANE + 8)
    picture.line((_NAME, floor), (WIDTH - _LABEL, floor), "grid")
    picture.polyline(x[edges], y(lowest), "curve ink")
    picture.text((_NAME - 6, floor - 3), load.name, "tick end")
    words = f"{load.side}, {plain_number(top)}/s"
    picture.text((WIDTH - _LABEL + 8, floor - 3), words, "tick")


def _words(trial: TrialView, loads: Sequence[LoadSeries]) -> str:
    parts = [
        f"{load.name} on the {load.side}: {int(load.ops.min())} to {int(load.ops.max())} per second"
        for load in loads
    ]
    return f"{trial.name}: operations of each load in each second. " + "; ".join(parts)


def measured(trial: TrialView) -> list[LoadSeries]:
    """The loads' whole seconds within the measurement; a load without two of them is left out."""
    found = []
    for load in trial.result.trial.loads:
        begins_ns = trial.load_begins_ns(load)
        within = (begins_ns >= 0) & (begins_ns + NS_PER_S <= trial.digest.duration_ns)
        if within.sum() >= 2:
            found.append(replace(load, second_ns=load.second_ns[within], ops=load.ops[within]))
    return found
