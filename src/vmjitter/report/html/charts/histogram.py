"""Latency histogram as OSADL's latency plots have it: linear latency, logarithmic count."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vmjitter.report.html.svg import (
    Picture,
    Scale,
    across,
    linear_labels,
    power_label,
    ticks,
    time_unit,
    upwards,
)
from vmjitter.report.html.view import TrialView, exact, grouped, setting
from vmjitter.stats.histogram import Histogram

_BINS: Final = 280
_STEPS: Final = (1, 2, 5)

Int64s = NDArray[np.int64]


def histogram_chart(
    trial: TrialView, *, high_ns: int, deadline_ns: int | None
) -> tuple[Markup, int, int]:
    """Draw the histogram of one trial.

    Args:
        trial: it has wake-ups.
        high_ns: end of the axis; what is later is counted in words.
        deadline_ns: drawn as a line where it lies on the axis.

    Returns:
        The picture, the width of its bins in ns, and the wake-ups beyond its end.
    """
    histogram = trial.digest.histogram
    low_ns = min(0, int(histogram.low_ns[0])) if len(histogram.low_ns) else 0
    width_ns = bin_width(high_ns - low_ns, histogram.resolution_ns)
    start, counts, beyond = _rebinned(histogram, width_ns, low_ns, high_ns)
    picture = Picture()
    x = across(start, start + max(1, len(counts)) * width_ns)
    y = upwards(0.7, max(10.0, float(counts.max(initial=1)) * 1.5), log=True)
    unit, word = time_unit(x.high)
    picture.axis_y(y, [(v, power_label(v)) for v in ticks(y, 5)], "wake-ups per bin, logarithmic")
    picture.axis_x(x, linear_labels(x, unit), f"latency ({word})")
    picture.path(_bars(x, y, start, counts, width_ns), f"fill {trial.look}")
    if deadline_ns is not None:
        picture.limit_x(x, deadline_ns, f"deadline {setting(deadline_ns)}")
    _overflow(picture, trial, x, y)
    _name_max(picture, trial, x)
    return picture.render(_words(trial, width_ns, beyond)), width_ns, beyond


def bin_width(span_ns: int, resolution_ns: int) -> int:
    """A round width of about 1/280 of the span that holds whole bins of the source."""
    wanted = max(1, span_ns / _BINS)
    power = 10 ** int(math.log10(wanted))
    width = next((f * power for f in _STEPS if f * power >= wanted), 10 * power)
    bins = -(-width // resolution_ns)
    return int(bins * resolution_ns)


def _rebinned(
    histogram: Histogram, width_ns: int, low_ns: int, high_ns: int
) -> tuple[int, Int64s, int]:
    start = low_ns // width_ns * width_ns
    bins = max(1, -(-(high_ns + 1 - start) // width_ns))
    place = (histogram.low_ns - start) // width_ns
    inside = place < bins
    counts = np.zeros(bins, np.int64)
    np.add.at(counts, place[inside], histogram.count[inside])
    return start, counts, int(histogram.count[~inside].sum())


def _bars(x: Scale, y: Scale, start: int, counts: Int64s, width_ns: int) -> str:
    """One closed step shape per run of filled bins."""
    place = np.flatnonzero(counts)
    left, right = x(start + place * width_ns), x(start + (place + 1) * width_ns)
    right = np.maximum(right, left + 1)  # a single wake-up must not vanish
    top, floor = y(counts[place]), y.start
    bars = zip(left, right, top, strict=True)
    return "".join(f"M{a:.1f} {floor}V{c:.1f}H{b:.1f}V{floor}z" for a, b, c in bars)


def _overflow(picture: Picture, trial: TrialView, x: Scale, y: Scale) -> None:
    """An outline over where the wake-ups lie of which only a lower limit is known."""
    histogram = trial.digest.histogram
    if not histogram.overflow or not x.holds(histogram.overflow_from_ns):
        return
    left, top = x.at(histogram.overflow_from_ns), y.at(histogram.overflow)
    picture.path(f"M{left:.1f} {y.start}V{top:.1f}H{x.end:.1f}V{y.start}", "limit open")
    words = f"{grouped(histogram.overflow)} somewhere from here on"
    right = left > x.start + 0.6 * (x.end - x.start)
    look = "note halo end" if right else "note halo"
    picture.text((left - 5 if right else left + 5, top - 5), words, look)


def _name_max(picture: Picture, trial: TrialView, x: Scale) -> None:
    max_ns = trial.result.summary.max_ns
    if max_ns is None or not x.holds(max_ns):
        return
    place = x.at(max_ns)
    right = place > x.start + 0.6 * (x.end - x.start)
    picture.path(f"M{place:.1f} {picture.floor - 22}v18m-3 -6l3 6l3 -6", "arrow")
    look = "note halo strong" + (" end" if right else "")
    picture.text((place + (-6 if right else 6), picture.floor - 24), f"max {exact(max_ns)}", look)


def _words(trial: TrialView, width_ns: int, beyond: int) -> str:
    summary = trial.result.summary
    rest = f"; {grouped(beyond)} lie beyond the axis" if beyond else ""
    return (
        f"{trial.name}: histogram of {grouped(summary.count)} latencies in bins of "
        f"{setting(width_ns)}; "
        f"median {exact(summary.p50_ns)}, maximum {exact(summary.max_ns)}{rest}"
    )
