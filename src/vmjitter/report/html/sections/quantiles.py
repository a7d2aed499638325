"""Quantiles with their intervals, only where the sample supports them."""

from __future__ import annotations

from vmjitter.report.html.blocks import Cell, Section, Tone, number, paragraphs, row, table
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.view import PageView, TrialView, exact
from vmjitter.stats.quantiles import Estimate


def section(view: PageView) -> Section | None:
    """A row per quantile, a column per trial."""
    trials = view.awake
    if not trials:
        return None
    columns = {
        trial.name: {one.label: one for one in trial.result.analysis.estimates} for trial in trials
    }
    labels = list(dict.fromkeys(label for column in columns.values() for label in column))
    rows = [
        row(words(label), *(_cell(columns[t.name].get(label)) for t in trials)) for label in labels
    ]
    confidence = view.result.target.confidence_percent
    return Section(
        anchor="quantiles",
        title="Quantiles with their intervals",
        blocks=(
            table(
                f"Quantile [lower limit, upper limit], each limit at {confidence:g} %",
                _head(trials),
                [*rows],
            ),
            paragraphs(
                "A limit is one of the latencies themselves (order statistics, binomial): no law "
                "is assumed, but independent wake-ups are. Each limit holds for itself with the "
                "confidence given. A quantile that too few wake-ups support is not given. The "
                "maximum is no estimate; beside it stands the share of wake-ups to come that it "
                "covers, with the same confidence."
            ),
        ),
    )


def _head(trials: tuple[TrialView, ...]) -> tuple[str, ...]:
    return ("quantile", *(trial.name for trial in trials))


def _cell(one: Estimate | None) -> Cell:
    if one is None:
        return words("")
    if not one.supported or one.value_ns is None:
        return number("not supported", Tone.ASIDE)
    least = "≥ " if one.at_least else ""
    if one.low_ns is None and one.high_ns is None:
        return number(f"{least}{exact(one.value_ns)}{_covered(one)}")
    high = "∞" if one.high_ns is None else exact(one.high_ns)
    return number(f"{least}{exact(one.value_ns)} [{exact(one.low_ns)}, {high}]{_covered(one)}")


def _covered(one: Estimate) -> str:
    return f", covers {100 * float(one.share):.7g} %" if one.label == "max" else ""
