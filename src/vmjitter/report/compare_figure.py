"""Two groups of trials as a figure: how often which latency is exceeded, and by how much it moved.

The same comparison gives the same bytes every time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from vmjitter.errors import UsageError
from vmjitter.report.comparable import Compared
from vmjitter.report.compare_text import sentence
from vmjitter.stats.comparison import Change, Row
from vmjitter.stats.survival import Curve, Curves
from vmjitter.store.atomic import replacing, writing
from vmjitter.units import format_ns

KINDS: Final = ("svg", "png", "pdf")
"""What a figure can be written as, by the end of its name."""

_WIDTH_IN: Final = 16 / 2.54
_PLOT_IN: Final = 2.9
_TITLE_IN: Final = 0.35
_AXIS_IN: Final = 0.58
_LINE_IN: Final = 0.133
_DPI: Final = 200
_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "svg.hashsalt": "vmjitter",
    "text.parse_math": False,
}
# Apart for every kind of colour vision (M. Okabe and K. Ito, "Color universal design", 2008),
# and by their dashes on paper.
_BEFORE: Final = "#d55e00"
_AFTER: Final = "#0072b2"
_GREY: Final = "#555555"
_METADATA: Final[dict[str, dict[str, Any]]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def draw_comparison(compared: Compared, file: Path) -> None:
    """Draw a comparison into one file, whose name says what kind it is.

    Raises:
        UsageError: its name ends in none of `KINDS`, or there is nothing to draw.
        DataError: it cannot be written.
    """
    kind = file.suffix.lstrip(".").lower()
    if kind not in KINDS:
        raise UsageError(
            f"{file}: a figure cannot be of the kind {file.suffix or 'without a name'!r}",
            hint=f"let its name end in {', '.join('.' + each for each in KINDS)}",
        )
    found = compared.comparison.curves
    if found is None:
        raise UsageError(
            f"{file}: there is nothing to draw, for one side has no trial that may be used",
            hint="see why with: vmjitter report RUN",
        )
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = _draw(compared, found)
        with writing(file), replacing(file) as temp:
            figure.savefig(temp, format=kind, dpi=_DPI, metadata=_METADATA[kind])


def _draw(compared: Compared, found: Curves) -> Figure:
    caption = _caption(compared, found)
    below_in = _AXIS_IN + _LINE_IN * (caption.count("\n") + 1)
    height_in = _TITLE_IN + _PLOT_IN + below_in
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        1,
        2,
        left=0.11,
        right=0.975,
        bottom=below_in / height_in,
        top=1 - _TITLE_IN / height_in,
        wspace=0.3,
        width_ratios=(3, 2),
    )
    _exceedance(figure.add_subplot(grid[0]), compared, found)
    _shifts(figure.add_subplot(grid[1]), compared)
    figure.text(0.015, 0.06 / height_in, caption, fontsize=7, va="bottom", linespacing=1.25)
    return figure


def _exceedance(axes: Axes, compared: Compared, found: Curves) -> None:
    for curve, label, colour, dashes in (
        (found.before, f"A: {compared.before.label}", _BEFORE, "--"),
        (found.after, f"B: {compared.after.label}", _AFTER, "-"),
    ):
        _curve(axes, found, curve, colour)
        axes.plot(
            found.latency_ns,
            _positive(curve.share),
            color=colour,
            linestyle=dashes,
            linewidth=1.3,
            drawstyle="steps-pre",
            label=_shortened(label),
        )
    axes.set_xscale("symlog" if found.latency_ns[0] <= 0 else "log", **_linear(found))
    axes.set_yscale("log")
    lowest = min(
        float(_positive(c.share)[~np.isnan(_positive(c.share))].min())
        for c in (found.before, found.after)
    )
    axes.set_ylim(lowest / 2, 1.3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_ns(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("latency")
    axes.set_ylabel("share of wake-ups that late or later")
    axes.grid(color="#dddddd", linewidth=0.5)
    deadline_ns = compared.target.deadline_ns
    if deadline_ns is not None:
        axes.axvline(deadline_ns, color=_GREY, linestyle=":", linewidth=1, label="deadline")
    axes.legend(loc="lower left", fontsize=7, frameon=False)
    axes.set_title("exceedance", loc="left", fontsize=9, fontweight="bold")


def _linear(found: Curves) -> dict[str, Any]:
    """Early wake-ups need a part of the axis that is not logarithmic."""
    return {"linthresh": 1000} if found.latency_ns[0] <= 0 else {}


def _curve(axes: Axes, found: Curves, curve: Curve, colour: str) -> None:
    """The band, and each trial as a thin line."""
    axes.fill_between(
        found.latency_ns,
        np.maximum(curve.low, 1e-12),
        curve.high,
        step="pre",
        color=colour,
        alpha=0.18,
        linewidth=0,
    )
    if len(curve.trials) > 1:
        for share in curve.trials:
            axes.plot(
                found.latency_ns,
                _positive(share),
                color=colour,
                linewidth=0.4,
                alpha=0.6,
                drawstyle="steps-pre",
            )


def _positive(share: Any) -> Any:  # noqa: ANN401 - numpy's arrays
    """A share of zero is not on a logarithmic scale."""
    return np.where(share > 0, share, np.nan)


def _shifts(axes: Axes, compared: Compared) -> None:
    """Each figure after by before, with its interval, on one logarithmic axis."""
    rows = [row for row in compared.comparison.rows if row.metric.is_time and row.ratio]
    colours = {Change.BETTER: _AFTER, Change.WORSE: _BEFORE}
    for place, row in enumerate(rows):
        _shift(axes, place, row, colours.get(row.change, _GREY))
    axes.axvline(1, color="#222222", linewidth=0.7)
    axes.set_yticks(range(len(rows)), [row.metric.value for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    ends = _reach(rows)
    axes.set_xlim(1 / ends, ends)
    axes.set_xticks(ticks := _ticks(ends), [f"{tick:.3g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("B / A: left is shorter")
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    axes.set_title("quantile shift", loc="left", fontsize=9, fontweight="bold")


def _shift(axes: Axes, place: int, row: Row, colour: str) -> None:
    shift = row.ratio
    assert shift is not None  # only such rows are drawn
    if shift.low is not None and shift.high is not None:
        axes.plot([shift.low, shift.high], [place, place], color=colour, linewidth=1.6)
    tested = row.adjusted is not None
    face = colour if tested else "white"
    axes.plot([shift.estimate], [place], "o", color=colour, markersize=4.5, markerfacecolor=face)


def _reach(rows: Sequence[Row]) -> float:
    """How far the axis of ratios goes: as far up as down, so that 1 is in the middle."""
    shifts = [row.ratio for row in rows if row.ratio]
    values = [v for s in shifts for v in (s.estimate, s.low, s.high) if v is not None]
    return 1.25 * max([1.6, *values, *(1 / value for value in values)])


def _ticks(ends: float) -> list[float]:
    """A few round ratios within the axis."""
    steps = (1.5, 2, 3) if ends < 4 else (2, 5, 10) if ends < 15 else (10, 100, 1000, 10_000)
    up = [float(step) for step in steps if step < ends]
    return [1 / step for step in reversed(up)] + [1.0, *up]


def _short_ns(value: float) -> str:
    """A tick: two digits are enough."""
    if value == 0:
        return "0"
    number, _, unit = format_ns(round(value)).partition(" ")
    return f"{float(number):g} {unit}"


def _shortened(label: str) -> str:
    return textwrap.shorten(label, 40, placeholder="…") if len(label) > 40 else label


def _caption(compared: Compared, found: Curves) -> str:
    comparison = compared.comparison
    counts = f"{len(compared.before.members)} + {len(compared.after.members)} trials"
    bands = "of trials" if found.before.by_trials and found.after.by_trials else "of wake-ups only"
    legend = (
        f"{counts}, thin lines. Bands ({bands}) and intervals: "
        f"{comparison.confidence_percent:g} %, each by itself; full circles: tested."
    )
    texts = [
        sentence(compared),
        legend,
        *(f"In spite of another condition: {each.text}." for each in compared.allowed),
        *(f"{word}." for word in compared.words),
    ]
    lines = [textwrap.fill(text, 125) for text in texts]
    return "\n".join(lines)
