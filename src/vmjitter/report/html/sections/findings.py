"""What the statistics found in the order of the wake-ups: convergence, stability, periods."""

from __future__ import annotations

from typing import Final

from vmjitter.report.analysis import Analysis
from vmjitter.report.html.blocks import (
    NONE,
    Block,
    Cell,
    Row,
    Section,
    Tone,
    number,
    paragraphs,
    row,
    table,
)
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.view import PageView, TrialView, exact, grouped
from vmjitter.stats.periodicity import Period, Periodicity


def section(view: PageView) -> Section | None:
    """A row per trial whose order is known, and a table of its periods if there are any."""
    trials = view.ordered
    if not trials:
        return None
    columns = ("trial", "has the maximum settled?", "the same throughout?", "periodic disturbers")
    rows = [row(words(trial.name), *_cells(trial.result.analysis)) for trial in trials]
    blocks: list[Block] = [table("What the order of the wake-ups shows", columns, rows)]
    for trial in trials:
        periods = trial.result.analysis.periods
        if periods and periods.found:
            found = [_row(period) for period in periods.found]
            blocks.append(table(f"Periodic disturbers of {trial.name}", _COLUMNS, found))
    return Section(
        anchor="findings",
        title="Convergence, stability, periods",
        blocks=(*blocks, paragraphs(_false_alarms(trials), _ALIASES, tone=Tone.ASIDE)),
    )


_COLUMNS = ("period", "±", "phase", "p-value", "cycles hit", "latest", "aliases", "known period")
_ALIASES: Final = (
    "A disturber is seen through the activations: one of a period shorter than theirs, or not "
    "much longer, may appear with another period. Its candidates are listed as aliases."
)
_UNTESTED: Final = "not tested: the trial is too short"


def _cells(analysis: Analysis) -> tuple[Cell, ...]:
    convergence, stationarity, periods = (
        analysis.convergence,
        analysis.stationarity,
        analysis.periods,
    )
    return (
        _cell(convergence.findings if convergence else None, "no sign that it has not"),
        _cell(stationarity.findings if stationarity else None, "no change was found"),
        words(_periods(periods) if periods else _UNTESTED),
    )


def _periods(periods: Periodicity) -> str:
    """The periods alone where a table below has the rest of them."""
    if not periods.found:
        return _joined(periods.findings)
    listed = ", ".join(exact(round(period.period_ns)) for period in periods.found)
    return f"Every {listed}: see below."


def _cell(findings: tuple[str, ...] | None, otherwise: str) -> Cell:
    if findings is None:
        return words(_UNTESTED, Tone.ASIDE)
    return words(_joined(findings), Tone.WARN) if findings else words(otherwise)


def _joined(findings: tuple[str, ...]) -> str:
    """Findings as sentences behind each other."""
    return " ".join(f"{one[0].upper()}{one[1:].rstrip('.')}." for one in findings if one)


def _false_alarms(trials: tuple[TrialView, ...]) -> str:
    rates = {one.false_alarm for trial in trials if (one := trial.result.analysis.periods)}
    if not rates:
        return ""
    return (
        "A trial without any periodic disturber shows one with a probability of at most "
        f"{100 * max(rates):g} %."
    )


def _row(period: Period) -> Row:
    aliases = ", ".join(exact(round(alias)) for alias in period.aliases_ns[:4])
    return row(
        number(exact(round(period.period_ns))),
        number(exact(round(period.uncertainty_ns))),
        words("wanders") if period.phase_ns is None else number(exact(round(period.phase_ns))),
        number(f"{period.p_value:.1g}"),
        number(f"{grouped(period.occurrences)} of {grouped(period.cycles)}"),
        number(exact(period.max_ns)),
        words(aliases),
        words(", ".join(period.matches) or NONE),
    )
