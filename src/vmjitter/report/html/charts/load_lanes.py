"""Operations per second of each load over the trial: the picture that proves that it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from markupsafe import Markup

from vmjitter.report.html.svg import (
    BOTTOM,
    LEFT,
    TOP,
    WIDTH,
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
_LABEL: Final = 104


def load_chart(trial: TrialView, loads: Sequence[LoadSeries]) -> Markup:
    """Draw a lane per load, each from zero to its highest rate.

    Args:
        trial: whose loads they are.
        loads: at least one, each with at least one second.
    """
    picture = Picture(height=TOP + BOTTOM + _LANE * len(loads))
    longest = max(len(load.ops) for load in loads)
    x = Scale(low=0, high=max(1, longest), start=LEFT + 10, end=WIDTH - _LABEL)
    for place, load in enumerate(loads):
        floor = TOP + _LANE * (place + 1) - 4
        _lane(picture, load, x, floor)
    picture.axis_x(x, linear_labels(x), "time since the load's first second (s)")
    return picture.render(_words(trial, loads))


def _lane(picture: Picture, load: LoadSeries, x: Scale, floor: float) -> None:
    """The smallest rate of each column, so that a stall of one second is seen."""
    edges = np.unique(np.arange(_POINTS) * len(load.ops) // _POINTS)
    lowest = np.minimum.reduceat(load.ops, edges).astype(np.float64)
    top = float(load.ops.max()) or 1.0
    y = Scale(low=0, high=top, start=floor, end=floor - _LANE + 8)
    seconds = (load.second_ns[edges] - load.second_ns[0]) / NS_PER_S
    picture.line((x.start, floor), (x.end, floor), "grid")
    picture.polyline(x(seconds), y(lowest), "curve ink")
    picture.text((x.start - 6, floor - 3), f"{load.name}", "tick end")
    picture.text((x.end + 8, floor - 3), f"{load.side}, {plain_number(top)}/s", "tick")


def _words(trial: TrialView, loads: Sequence[LoadSeries]) -> str:
    parts = [
        f"{load.name} on the {load.side}: {int(load.ops.min())} to {int(load.ops.max())} per second"
        for load in loads
    ]
    return f"{trial.name}: operations of each load in each second. " + "; ".join(parts)


def drawable(loads: Sequence[LoadSeries]) -> list[LoadSeries]:
    """Loads of which two seconds are known besides the last, which may be cut and is left out."""
    return [
        replace(load, second_ns=load.second_ns[:-1], ops=load.ops[:-1])
        for load in loads
        if len(load.ops) > 2
    ]
