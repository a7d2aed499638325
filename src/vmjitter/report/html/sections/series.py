"""The latency of every wake-up over time; before and after on one scale."""

from __future__ import annotations

from vmjitter.report.html.blocks import Block, Grid, Section, SeriesFigure, Tone, paragraphs
from vmjitter.report.html.charts.series import series_chart, vertical_range
from vmjitter.report.html.samples import LONG_PEAKS, payload
from vmjitter.report.html.view import PageView, TrialView, grouped, setting


def section(view: PageView) -> Section | None:
    """One chart per trial."""
    if not view.awake:
        return None
    pair = tuple(trial for trial in view.pair or () if trial.ordered)
    pair = pair if len(pair) == 2 else ()
    rest = [trial for trial in view.ordered if trial not in pair]
    blocks: list[Block] = []
    if pair:
        blocks.append(
            paragraphs(f"Before and after, on one scale: {pair[0].name}, {pair[1].name}.")
        )
        blocks.append(Grid(figures=tuple(_figure(view, one, pair, "pair") for one in pair)))
    if rest and pair:
        blocks.append(paragraphs("The other trials, each on a scale of its own."))
    if rest:
        blocks.append(Grid(figures=tuple(_figure(view, one, (one,), "") for one in rest)))
    return Section(
        anchor="series",
        title="Every wake-up over time",
        blocks=(*_without_series(view), *blocks, paragraphs(*_legend(view), tone=Tone.ASIDE)),
    )


def _figure(
    view: PageView, trial: TrialView, alike: tuple[TrialView, ...], group: str
) -> SeriesFigure:
    vertical = vertical_range(alike, view.deadline_ns)
    return SeriesFigure(
        title=trial.name,
        svg=series_chart(trial, vertical=vertical, deadline_ns=view.deadline_ns),
        caption=_caption(view, trial),
        name=trial.name,
        payload=payload(trial.result.trial, full=trial.full),
        group=group,
    )


def _caption(view: PageView, trial: TrialView) -> str:
    result, summary = trial.result, trial.result.summary
    parts = [
        result.status.title if result.status.title != trial.name else "",
        f"{grouped(summary.count)} wake-ups, period {setting(result.period_ns)}",
        f"{grouped(summary.overruns)} missed activations" if summary.overruns else "",
        f"INVALID: {'; '.join(result.reasons)}" if result.reasons else "",
        result.incomplete_text,
    ]
    deadline, worst = view.deadline_ns, summary.max_ns
    if deadline is not None and worst is not None and worst * 1.3 < deadline:
        parts.append(f"the deadline of {setting(deadline)} lies above this scale")
    return ". ".join(part[0].upper() + part[1:] for part in parts if part) + "."


def _without_series(view: PageView) -> list[Block]:
    names = [trial.name for trial in view.awake if not trial.ordered]
    if not names:
        return []
    return [
        paragraphs(
            f"{', '.join(names)}: the source holds no times or no order of the wake-ups, so there "
            "is no series to draw, and nothing can be said of periods, bursts and stability.",
            tone=Tone.WARN,
        )
    ]


def _legend(view: PageView) -> list[str]:
    legend = []
    if any(trial.full for trial in view.ordered):
        legend.append(
            "Zoomed out, each column of pixels reaches from its earliest to its latest wake-up: "
            "nothing is averaged or left out. Zoomed in, every wake-up is a point with its exact "
            "latency in nanoseconds."
        )
    return [*legend, *(_long(trial) for trial in view.ordered if not trial.full)]


def _long(trial: TrialView) -> str:
    return (
        f"{trial.name} is too long for a page to hold every wake-up. It holds the earliest and "
        f"the latest of each block of {grouped(trial.digest.blocks.size)} activations and the "
        f"{grouped(LONG_PEAKS)} latest wake-ups one by one; all others are in the run's files."
    )
