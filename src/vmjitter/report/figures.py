"""Figures of a run: the latency of every wake-up over time, and before beside after.

Every wake-up is drawn; none is left out or averaged, because the single worst one is what
matters.  The y axis is linear from zero like the paper's, so that heights can be compared by
eye; the bulk, which then lies close to zero, is in the caption by its quantiles.  The same run
gives the same bytes every time.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vmjitter.report.result import RunResult, TrialResult, judge, paper_text
from vmjitter.stats.histogram import MISSED
from vmjitter.stats.summary import Latencies
from vmjitter.store.atomic import replacing, writing
from vmjitter.store.reader import Run
from vmjitter.units import NS_PER_MS, NS_PER_S, NS_PER_US, format_ns

WIDTH_IN: Final = 16 / 2.54
"""As wide as the text of a printed page, so that sizes of type are those on paper."""

DPI: Final = 200

_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "svg.hashsalt": "vmjitter",
    "text.parse_math": False,
}
_LATE: Final = "#1f4e79"
_MISS: Final = "#b3261e"
_LIMIT: Final = "#333333"
_CAPTION: Final = "#222222"

_PLOT_IN: Final = 2.5
_LINE_IN: Final = 0.155
_TITLE_IN: Final = 0.55
_XLABEL_IN: Final = 0.46
_CAPTION_COLUMNS: Final = 104
_HEADROOM: Final = 1.08
_NEAR: Final = 0.1
_LIMIT_IN_SCALE: Final = 1.25
"""A line higher than this times the worst latency would squeeze the points: named only."""


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """One trial, ready to be drawn."""

    result: TrialResult
    latency_ns: Latencies

    @cached_property
    def awake(self) -> NDArray[np.bool_]:
        return np.not_equal(self.latency_ns, MISSED)

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Planned time of each activation since the first one."""
        index = np.arange(len(self.latency_ns), dtype=np.float64)
        return index * (self.result.period_ns / NS_PER_S)

    @property
    def max_ns(self) -> int:
        return self.result.summary.max_ns or 0


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """The y axis that one or several panels share."""

    bottom_ns: float
    top_ns: float
    unit_ns: int
    unit: str


def draw_figures(run: Run, out_dir: Path) -> list[Path]:
    """Draw every figure of a run, as PNG and SVG.

    Args:
        run: trials without wake-ups or their order get no figure, nor do further rounds.
        out_dir: made if it does not exist; files of the same names in it are replaced.

    Returns:
        The files, in the order in which they were drawn.

    Raises:
        DataError: a file cannot be written.
    """
    result = judge(run)
    panels = [
        _Panel(result=judged, latency_ns=trial.latency_ns)
        for trial, judged in zip(run.trials, result.trials, strict=True)
        if judged.summary.count and trial.digest.ordered
    ]
    with writing(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    with style():
        for panel in panels:
            if panel.result.status.round > 1:
                continue  # further rounds look alike; the page has them all
            figure = _draw([panel], [panel.result.status.title], run.info.deadline_ns)
            files += save(figure, out_dir / f"latency-{panel.result.scenario}")
        pair = _pair(panels, result)
        if pair:
            figure = _draw(pair, ["before", "after"], run.info.deadline_ns)
            files += save(figure, out_dir / f"pair-{'-'.join(run.info.pair or ())}")
    return files


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Our settings on matplotlib's defaults: a user's own ones must not change a figure."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def _pair(panels: Sequence[_Panel], result: RunResult) -> list[_Panel]:
    """The panels before and after of the first round, or none if one of them does not exist."""
    first = [panel for panel in panels if panel.result.status.round <= 1]
    by_name = {panel.result.scenario: panel for panel in first}
    pair = [by_name[name] for name in result.run.info.pair or () if name in by_name]
    return pair if len(pair) == 2 else []


def _draw(panels: Sequence[_Panel], titles: Sequence[str], deadline_ns: int | None) -> Figure:
    """Draw panels side by side on one scale, and the captions below them."""
    scale = _scale(panels, deadline_ns)
    lines = "\n\n".join(_caption(panel, scale, deadline_ns) for panel in panels).split("\n")
    below_in = _XLABEL_IN + _LINE_IN * len(lines) + 0.08
    height_in = _TITLE_IN + _PLOT_IN + below_in
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        1,
        len(panels),
        left=0.62 / WIDTH_IN,
        right=1 - 0.12 / WIDTH_IN,
        bottom=below_in / height_in,
        top=1 - _TITLE_IN / height_in,
        wspace=0.08,
    )
    for place, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        axes = figure.add_subplot(grid[place])
        _draw_panel(axes, panel, scale, deadline_ns)
        _title(axes, panel.result.scenario, title, columns=84 // len(panels))
        if place:
            axes.tick_params(labelleft=False)
            axes.set_ylabel("")
    figure.text(
        0.12 / WIDTH_IN,
        0.08 / height_in,
        "\n".join(lines),
        va="bottom",
        fontsize=8,
        color=_CAPTION,
        linespacing=1.2,
    )
    return figure


def _scale(panels: Sequence[_Panel], deadline_ns: int | None) -> _Scale:
    """One scale for all: from zero, or below if there is an early wake-up, to the worst."""
    worst = max(1, *(panel.max_ns for panel in panels))
    limits = [limit for panel in panels for limit in _limits(panel, deadline_ns).values()]
    shown = [limit for limit in limits if limit <= worst * _LIMIT_IN_SCALE]
    top = max([worst, *shown]) * _HEADROOM
    bottom = min(0, *(panel.result.summary.min_ns or 0 for panel in panels)) * _HEADROOM
    unit_ns, unit = (NS_PER_MS, "ms") if top >= 2 * NS_PER_MS else (NS_PER_US, "µs")
    return _Scale(bottom_ns=bottom, top_ns=top, unit_ns=unit_ns, unit=unit)


def _limits(panel: _Panel, deadline_ns: int | None) -> dict[str, int]:
    """What the latencies are held against, by the word for it."""
    limits = {"deadline": deadline_ns, "paper's worst": panel.result.status.paper_max_ns}
    return {word: limit for word, limit in limits.items() if limit is not None}


def _draw_panel(axes: Axes, panel: _Panel, scale: _Scale, deadline_ns: int | None) -> None:
    # Above all else, so that no text hides a point; and as pixels in the SVG, too, which
    # would need a hundred bytes for each of them.
    axes.plot(
        panel.seconds[panel.awake],
        panel.latency_ns[panel.awake] / scale.unit_ns,
        linestyle="none",
        marker="o",
        markersize=1.5,
        markeredgewidth=0,
        color=_LATE,
        rasterized=True,
        zorder=2,
    )
    end_s = max(float(panel.seconds[-1]), panel.result.period_ns / NS_PER_S) or 1.0
    axes.set_xlim(-0.005 * end_s, end_s * 1.005)
    axes.set_ylim(scale.bottom_ns / scale.unit_ns, scale.top_ns / scale.unit_ns)
    axes.set_xlabel("time since the first activation (s)")
    axes.set_ylabel(f"latency ({scale.unit})")
    axes.grid(axis="y", color="#dddddd", linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)
    _draw_missed(axes, panel)
    _draw_limits(axes, panel, scale, deadline_ns)
    _name_worst(axes, panel, scale, deadline_ns)
    _watermark(axes, panel.result)


def _draw_missed(axes: Axes, panel: _Panel) -> None:
    """Mark each missed activation above the plot: it has no latency."""
    missed = panel.seconds[~panel.awake]
    if not len(missed):
        return
    axes.plot(
        missed,
        np.full(len(missed), 1.02),
        linestyle="none",
        marker="|",
        markersize=5,
        markeredgewidth=0.6,
        color=_MISS,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        rasterized=True,
    )
    axes.annotate(
        f"{_grouped(len(missed))} missed",
        (1, 1.02),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        color=_MISS,
        fontsize=8,
    )


def _draw_limits(axes: Axes, panel: _Panel, scale: _Scale, deadline_ns: int | None) -> None:
    styles = {"deadline": "--", "paper's worst": (0, (1, 1.5))}
    for word, limit_ns in _limits(panel, deadline_ns).items():
        if limit_ns > scale.top_ns:
            continue
        height = limit_ns / scale.unit_ns
        axes.axhline(height, linestyle=styles[word], linewidth=0.9, color=_LIMIT, zorder=1.5)
        axes.annotate(
            _limit_text(word, limit_ns),
            (0.01, height),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2.5),
            textcoords="offset points",
            fontsize=8,
            color=_LIMIT,
            bbox=_BEHIND,
            zorder=1.6,
        )


_BEHIND: Final = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}


def _name_worst(axes: Axes, panel: _Panel, scale: _Scale, deadline_ns: int | None) -> None:
    """Name the worst latency, clear of the text that stands on a line close to it."""
    place = int(np.argmax(panel.latency_ns))  # a missed activation is the smallest number
    x, y = panel.seconds[place], panel.latency_ns[place] / scale.unit_ns
    right = x > 0.6 * panel.seconds[-1]
    limits = _limits(panel, deadline_ns).values()
    near = [limit for limit in limits if abs(limit - panel.max_ns) < _NEAR * scale.top_ns]
    axes.plot([x], [y], "o", markersize=5, markerfacecolor="none", color=_LIMIT, zorder=3)
    axes.annotate(
        f"max {format_ns(panel.max_ns)}",
        (x, y),
        xytext=(-6 if right else 6, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va=("bottom" if min(near) < panel.max_ns else "top") if near else "center",
        fontsize=8.5,
        fontweight="bold",
        bbox=_BEHIND,
        zorder=1.7,
    )


def _watermark(axes: Axes, result: TrialResult) -> None:
    """Say across the plot that it must not be used as it is."""
    text = "INVALID" if result.reasons else "incomplete" if result.incomplete else ""
    if text:
        axes.text(
            0.5,
            0.5,
            text,
            transform=axes.transAxes,
            ha="center",
            va="center",
            rotation=18,
            fontsize=38,
            fontweight="bold",
            color="#888888",
            alpha=0.45,
            zorder=1,
        )


def _title(axes: Axes, scenario: str, title: str, *, columns: int) -> None:
    axes.annotate(
        scenario,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 22),
        textcoords="offset points",
        fontsize=10,
        fontweight="bold",
    )
    axes.annotate(
        textwrap.shorten(title, columns, placeholder=" …"),
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 11),
        textcoords="offset points",
        fontsize=8.5,
    )


def _caption(panel: _Panel, scale: _Scale, deadline_ns: int | None) -> str:
    """What has to be said beside the picture, in lines of the figure's width."""
    result, summary = panel.result, panel.result.summary
    quantiles = {"p50": summary.p50_ns, "p99": summary.p99_ns, "p99.9": summary.p999_ns}
    bulk = [f"{name} {format_ns(ns)}" for name, ns in quantiles.items() if ns is not None]
    counts = "; ".join(
        (
            f"{result.scenario}: {_grouped(summary.count)} wake-ups, every one drawn",
            f"{_grouped(summary.overruns)} missed activations",
            f"period {_unbroken(format_ns(result.period_ns))}",
            ", ".join(map(_unbroken, (*bulk, f"max {format_ns(panel.max_ns)}"))),
        )
    )
    sentences = [
        counts,
        *_limits_in_words(panel, scale, deadline_ns),
        *result.conditions,
        f"{result.incomplete_text} activations".capitalize() if result.incomplete else "",
        *(f"INVALID: {reason}" for reason in result.reasons),
    ]
    return textwrap.fill(" ".join(f"{text}." for text in sentences if text), _CAPTION_COLUMNS)


def _limits_in_words(panel: _Panel, scale: _Scale, deadline_ns: int | None) -> list[str]:
    limits = _limits(panel, deadline_ns)
    return [
        f"The {_limit_text(word, limit)} is above this scale"
        for word, limit in limits.items()
        if limit > scale.top_ns
    ]


def _limit_text(word: str, limit_ns: int) -> str:
    text = format_ns(limit_ns) if word == "deadline" else paper_text(limit_ns)
    return _unbroken(f"{word} {text}")


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _grouped(count: int) -> str:
    return f"{count:,}".replace(",", "\N{NO-BREAK SPACE}")


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write PNG and SVG without date or version, so that the same figure has the same bytes."""
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
    }
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in metadata]
    for file, (kind, about) in zip(files, metadata.items(), strict=True):
        with writing(file), replacing(file) as temp:
            figure.savefig(temp, format=kind, dpi=DPI, metadata=about)
    return files
