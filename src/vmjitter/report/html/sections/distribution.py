"""How the latencies are distributed: histograms, and the share that is as late or later."""

from __future__ import annotations

from typing import Final

from vmjitter.report.html.blocks import Block, Figure, Grid, Section
from vmjitter.report.html.charts.exceedance import exceedance_chart
from vmjitter.report.html.charts.histogram import histogram_chart
from vmjitter.report.html.view import PageView, TrialView, exact, plural, setting

_SQUEEZED: Final = 6
"""So many times the 99.9 % quantile is the maximum where the bulk needs a picture of its own."""


_READING: Final = (
    "Read it as: this share of the wake-ups was as late as this or later. Below the line 3/N, "
    "more could have occurred without being seen in as many wake-ups (95 % confidence, "
    "independent wake-ups)."
)


def section(view: PageView) -> Section | None:
    """Histogram of each trial, exceedance of all."""
    if not view.awake:
        return None
    figures = [figure for trial in view.awake for figure in _histograms(view, trial)]
    blocks: tuple[Block, ...] = (_exceedance(view), Grid(figures=tuple(figures)))
    return Section(anchor="distribution", title="Distribution", blocks=blocks)


def _histograms(view: PageView, trial: TrialView) -> list[Figure]:
    summary = trial.result.summary
    whole = summary.max_ns
    if whole is None:
        whole = (
            int(trial.digest.histogram.high_ns[-1]) if len(trial.digest.histogram.high_ns) else 1
        )
    bulk = summary.p999_ns
    figures = [_histogram(view, trial, max(1, whole), "")]
    if bulk and whole > _SQUEEZED * bulk:
        figures.append(_histogram(view, trial, int(bulk * 1.5), ", the bulk"))
    return figures


def _histogram(view: PageView, trial: TrialView, high_ns: int, which: str) -> Figure:
    svg, width_ns, beyond = histogram_chart(trial, high_ns=high_ns, deadline_ns=view.deadline_ns)
    overflow = trial.digest.histogram.overflow
    parts = [f"Bins of {setting(width_ns)}"]
    if beyond:
        parts.append(f"{plural(beyond, 'wake-up', 'wake-ups')} beyond the right edge")
    if overflow:
        parts.append(
            f"of {plural(overflow, 'wake-up', 'wake-ups')} the source tells only that they were "
            f"{exact(trial.digest.histogram.overflow_from_ns)} late or more"
        )
    return Figure(
        title=f"Histogram of {trial.name}{which}", svg=svg, caption="; ".join(parts) + "."
    )


def _exceedance(view: PageView) -> Figure:
    projected = [trial for trial in view.awake if _has_projection(trial)]
    parts = [_READING]
    if len(view.awake) <= 2:
        confidence = view.result.target.confidence_percent
        parts.append(f"Bands: exact {confidence:g} % limits of each share for itself.")
    if projected:
        parts.append(
            "Dotted: the advisory projection, in bursts of late wake-ups per activation; see there."
        )
    return Figure(
        title="Exceedance",
        svg=exceedance_chart(view),
        caption=" ".join(parts),
        legend=tuple((trial.name, f"curve {trial.look}") for trial in view.awake),
    )


def _has_projection(trial: TrialView) -> bool:
    tail = trial.result.analysis.tail
    return not tail.refused and any(level.value_ns is not None for level in tail.levels)
