"""What each mitigation of an ablation brings, as a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vmjitter.report.ablation import AblationResult, CellResult
from vmjitter.report.figures import WIDTH_IN, save, style
from vmjitter.report.result import RunResult
from vmjitter.stats.factorial import Ratio
from vmjitter.store.atomic import writing
from vmjitter.units import format_ns

_ROW_IN: Final = 0.2
_EDGES_IN: Final = 2.2
_BLUE: Final = "#0072b2"
_GREY: Final = "#777777"
_ORANGE: Final = "#d55e00"
_LEAST: Final = 0.01
_Row = tuple[str, Ratio | None]


def draw_ablation(found: AblationResult, result: RunResult, out_dir: Path) -> list[Path]:
    """Draw combinations and contributions, as PNG and SVG.

    Raises:
        DataError: a file cannot be written.
    """
    with writing(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
    with style():
        return save(_figure(found, result), out_dir / "ablation")


def _figure(found: AblationResult, result: RunResult) -> Figure:
    rows = _rows(found)
    height_in = _EDGES_IN + _ROW_IN * (len(rows) + len(found.cells))
    figure = Figure(figsize=(WIDTH_IN, height_in))
    FigureCanvasAgg(figure)
    cells, effects = figure.subplots(2, 1, height_ratios=[len(found.cells), len(rows)])
    _draw_cells(cells, found.cells)
    _draw_effects(effects, rows)
    caption = _caption(found, result)
    bottom = (0.16 * caption.count("\n") + 0.3) / height_in
    figure.text(0.01, 0.02, caption, fontsize=7, va="bottom", color="#222222")
    figure.subplots_adjust(left=0.33, right=0.97, top=1 - 0.28 / height_in, bottom=bottom + 0.1)
    figure.subplots_adjust(hspace=0.35)
    return figure


def _rows(found: AblationResult) -> list[_Row]:
    rows: list[_Row] = [(one.mitigation, one.average) for one in found.worst.effects]
    rows.append(("all together", found.worst.all_together))
    pairs = found.worst.interactions
    return [*rows, *((f"{one.one} and {one.other} interact", one.ratio) for one in pairs)]


def _draw_cells(axes: Axes, cells: Sequence[CellResult]) -> None:
    ordered = sorted(cells, key=lambda cell: (len(cell.mitigations), -cell.max_ns))
    for place, cell in enumerate(ordered):
        axes.plot([cell.least_ns, cell.most_ns], [place, place], color=_BLUE, linewidth=1.2)
        axes.plot([cell.max_ns], [place], "o", color=_BLUE, markersize=4)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    subs = (1.0, 3.0) if high / low > 30 else (1.0, 2.0, 3.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_ns(round(value))))
    axes.xaxis.set_minor_formatter(NullFormatter())
    names = [", ".join(cell.mitigations) or "none of them" for cell in ordered]
    _label(axes, names, "worst latency of each trial: median and extremes")


def _draw_effects(axes: Axes, rows: Sequence[_Row]) -> None:
    axes.axvline(1.0, color=_GREY, linewidth=0.8, linestyle="--")
    for place, (_, ratio) in enumerate(rows):
        if ratio is None:
            continue
        colour = _GREY if not ratio.shown else (_BLUE if ratio.estimate < 1 else _ORANGE)
        if ratio.low is not None and ratio.high is not None:
            axes.plot([ratio.low, ratio.high], [place, place], color=colour, linewidth=1.2)
        axes.plot([ratio.estimate], [place], "o", color=colour, markersize=4)
    axes.set_xscale("log")
    # With two rounds an interval can span six decades; what lies beyond two is beside the point.
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, _LEAST), min(high, 1 / _LEAST))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _label(axes, [name for name, _ in rows], "factor on the worst latency; below 1 is better")


def _label(axes: Axes, names: Sequence[str], text: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(y=0.08)
    axes.grid(axis="x", linewidth=0.4, color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_xlabel(text)


def _caption(found: AblationResult, result: RunResult) -> str:
    simulation = result.run.info.simulation
    where = [simulation.get("model", "simulated host")] if simulation else []
    where += ["TCG"] if any(trial.status.accel == "tcg" for trial in result.trials) else []
    text = (
        f"{result.run.info.title or result.run.info.plan} Lines: extremes above, "
        f"{found.worst.confidence_percent:g} % intervals over rounds below, grey if they hold 1. "
        f"Interaction: 1 if both act independently. {'; '.join(where)}"
    )
    return textwrap.fill(text.strip(), 118)
