"""Was the trial the same from its beginning to its end, and has the maximum settled?"""

from __future__ import annotations

from vmjitter.report.html.blocks import (
    Block,
    Figure,
    Grid,
    Row,
    Section,
    number,
    paragraphs,
    row,
    table,
)
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.charts.heatmap import heat_range, heatmap_chart
from vmjitter.report.html.charts.running_max import running_max_chart
from vmjitter.report.html.view import PageView, TrialView, exact, grouped
from vmjitter.stats.convergence import Convergence


def section(view: PageView) -> Section | None:
    """Heat maps, running maximum, records."""
    trials = view.ordered
    if not trials:
        return None
    axis = heat_range(trials)
    heat = tuple(_heat(one, axis) for one in trials)
    running = Figure(
        title="Running maximum",
        svg=running_max_chart(trials, view.deadline_ns),
        caption="A curve that still climbs at its end says that a longer trial would find a later "
        "wake-up.",
        legend=tuple((trial.name, f"curve {trial.look}") for trial in trials),
    )
    return Section(
        anchor="time",
        title="Over time",
        blocks=(
            Grid(figures=heat),
            running,
            table(
                "Records of the running maximum",
                ("trial", "records", "expected if nothing changes", "maximum reached after"),
                [_row(trial, found) for trial, found in _converging(trials)],
            ),
            *_warm_up(trials),
            paragraphs(
                "A record is a wake-up later than all before it. If the trial is the same from its "
                "beginning to its end, their number is about ln N + 0.58, and the maximum is "
                "equally likely anywhere."
            ),
        ),
    )


def _heat(trial: TrialView, axis: tuple[float, float]) -> Figure:
    svg, most = heatmap_chart(trial, range_ns=axis)
    what = "wake-ups" if trial.full else "blocks, by the latest wake-up of each,"
    caption = f"Colour: {what} per cell, from 1, dark, to {grouped(most)}, yellow, logarithmic."
    if (stationarity := trial.result.analysis.stationarity) and stationarity.changes:
        caption += " Dashed: the latencies change here."
    return Figure(title=f"Heat map of {trial.name}", svg=svg, caption=caption)


def _converging(trials: tuple[TrialView, ...]) -> list[tuple[TrialView, Convergence]]:
    found = [(trial, trial.result.analysis.convergence) for trial in trials]
    return [(trial, one) for trial, one in found if one is not None]


def _row(trial: TrialView, found: Convergence) -> Row:
    return row(
        words(trial.name),
        number(grouped(found.records)),
        number(f"{found.records_expected:.1f}"),
        number(f"{100 * found.last_record_share:.1f} % of the trial"),
    )


def _warm_up(trials: tuple[TrialView, ...]) -> list[Block]:
    """The trials with and without their beginning, by a rule that was fixed before."""
    found = _converging(trials)
    if not found:
        return []
    rows = [
        row(
            words(trial.name),
            number(grouped(one.warm_up.activations)),
            number(exact(one.warm_up.max_ns)),
            number(exact(one.warm_up.max_without_ns)),
            number(grouped(one.warm_up.misses)),
            number(grouped(one.warm_up.misses_without)),
        )
        for trial, one in found
    ]
    rules = dict.fromkeys(one.warm_up.rule for _, one in found)
    columns = ("trial", "activations", "max with", "max without", "misses with", "misses without")
    return [table(f"With and without the warm-up ({'; '.join(rules)})", columns, rows)]
