"""The loads' own counts: the proof that the wake-ups were measured under load."""

from __future__ import annotations

from vmjitter.model.run import LoadResult
from vmjitter.report.html.blocks import (
    Block,
    Figure,
    Grid,
    Row,
    Section,
    Tone,
    number,
    paragraphs,
    row,
    table,
)
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.charts.load_lanes import load_chart, measured
from vmjitter.report.html.view import PageView, TrialView, grouped

_FEW = 0.95


def section(view: PageView) -> Section | None:
    """A table of all, and lanes over time per trial."""
    rows = [_row(trial, load) for trial in view.trials for load in trial.result.status.loads]
    if not rows:
        return None
    blocks: list[Block] = [
        paragraphs(
            "Each load counts its operations in every second while the probe runs. A load that did "
            "not start, died or stood still makes its trial invalid."
        ),
        table(
            "Operations per second of each load",
            (
                "trial",
                "load",
                "side",
                "achieved",
                "asked for",
                "slowest second",
                "longest stall",
                "errors",
                "end",
            ),
            rows,
        ),
    ]
    figures = [
        Figure(
            title=f"Loads of {trial.name}",
            svg=load_chart(trial, loads),
            caption="Each lane from zero to the load's highest rate; the smallest rate where "
            "several seconds share a place.",
        )
        for trial in view.trials
        if (loads := measured(trial))
    ]
    if figures:
        blocks.append(Grid(figures=tuple(figures)))
    return Section(anchor="loads", title="Proof that the loads ran", blocks=tuple(blocks))


def _row(trial: TrialView, load: LoadResult) -> Row:
    short = load.rate_wanted and load.rate < load.rate_wanted * _FEW
    stalled = Tone.BAD if load.longest_stall_s else Tone.PLAIN
    return row(
        words(trial.name),
        words(load.name),
        words(load.side),
        number(f"{load.rate:.1f}", Tone.WARN if short else Tone.PLAIN),
        number(grouped(load.rate_wanted) if load.rate_wanted else "as many as possible"),
        number(grouped(load.min_per_s)),
        number(f"{load.longest_stall_s} s", stalled),
        number(grouped(load.errors), Tone.BAD if load.errors else Tone.PLAIN),
        words("; ".join(filter(None, (load.state, load.message)))),
    )
