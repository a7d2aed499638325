"""How many wake-ups had which latency in which part of the trial: columns of time, log latency."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.image import imsave
from numpy.typing import NDArray

from vmjitter.report.html.svg import (
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Picture,
    Scale,
    across,
    linear_labels,
    log_time_labels,
    upwards,
)
from vmjitter.report.html.view import TrialView, exact
from vmjitter.stats.histogram import MISSED
from vmjitter.units import NS_PER_S

Counts = NDArray[np.float64]

_NO_METADATA: Final[Any] = {"Software": None}
"""No version in the file: the same picture has the same bytes."""

_COLUMNS: Final = 142
_ROWS: Final = 48
_FAINTEST: Final = 0.12
"""One wake-up must be seen on a dark page, too."""


def heatmap_chart(trial: TrialView, *, range_ns: tuple[float, float]) -> tuple[Markup, int]:
    """Draw the heat map of one trial.

    Args:
        trial: it has a series.
        range_ns: lowest and highest latency of the axis, both above 0.

    Returns:
        The picture, and what its brightest cell counts.
    """
    digest = trial.digest
    picture = Picture()
    x, y = across(0, digest.duration_ns / NS_PER_S), upwards(*range_ns, log=True)
    counts = cell_counts(trial, y)
    picture.image(_png(counts), (LEFT, TOP), (WIDTH - LEFT - RIGHT, picture.floor - TOP))
    picture.axis_y(y, log_time_labels(y), "latency, logarithmic")
    picture.axis_x(x, linear_labels(x), "time since the first activation (s)")
    stationarity = trial.result.analysis.stationarity
    for change in stationarity.changes if stationarity else ():
        picture.limit_x(x, change.at_ns / NS_PER_S, "change")
    return picture.render(_words(trial)), int(counts.max())


def heat_range(trials: tuple[TrialView, ...]) -> tuple[float, float]:
    """One latency axis for all trials."""
    highest = max(1000, *(trial.result.summary.max_ns or 0 for trial in trials))
    lowest = min(max(100, trial.result.summary.min_ns or 0) for trial in trials)
    return min(lowest, highest / 10) * 0.9, highest * 1.1


def cell_counts(trial: TrialView, y: Scale) -> Counts:
    """Wake-ups, or blocks by their latest wake-up, per cell; rows from the latest down."""
    if trial.full:
        latency = trial.result.trial.latency_ns
        index = np.flatnonzero(latency != MISSED)
        values, size = latency[index], 1
    else:
        index = np.flatnonzero(trial.digest.blocks.max_ns != MISSED)
        values, size = trial.digest.blocks.max_ns[index], trial.digest.blocks.size
    column = index * size * _COLUMNS // max(1, trial.digest.activations)
    share = (y(values) - y.end) / (y.start - y.end)
    line = np.minimum((share * _ROWS).astype(np.int64), _ROWS - 1)
    cells = np.bincount(line * _COLUMNS + column, minlength=_ROWS * _COLUMNS)
    return cells.reshape(_ROWS, _COLUMNS).astype(np.float64)


def _png(counts: Counts) -> str:
    """Log counts in colours that people with any colour vision can order; nothing is clear."""
    top = np.log1p(counts.max())
    share = _FAINTEST + (1 - _FAINTEST) * np.log1p(counts) / (top or 1.0)
    pixels = colormaps["viridis"](share)
    pixels[..., 3] = counts > 0
    file = io.BytesIO()
    imsave(file, pixels, format="png", metadata=_NO_METADATA)
    return base64.b64encode(file.getvalue()).decode()


def _words(trial: TrialView) -> str:
    what = "wake-ups" if trial.full else "blocks of wake-ups, by the latest of each,"
    return (
        f"{trial.name}: heat map of {what} by time and latency; latencies from "
        f"{exact(trial.result.summary.min_ns)} to {exact(trial.result.summary.max_ns)}"
    )
