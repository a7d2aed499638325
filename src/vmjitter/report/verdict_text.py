"""The verdict in the terminal: each trial in a sentence, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.tail import Level
from vmjitter.stats.verdict import Outcome
from vmjitter.stats.verdict_words import per_hour
from vmjitter.units import format_ns, format_span

OUTCOME_STYLES: Final = {
    Outcome.PASS: "bold green",
    Outcome.FAIL: "bold red",
    Outcome.INCONCLUSIVE: "bold yellow",
    Outcome.NONE: "dim",
}
_ASIDE: Final = "dim"


def verdict_block(result: RunResult) -> RenderableType | None:
    """The outcome of the whole and one sentence per trial; None without a deadline."""
    target = result.target
    if target.deadline_ns is None:
        return None
    rate = target.max_misses_per_hour
    allowed = "any miss fails" if rate is None else f"at most {per_hour(f'{rate:g}')}"
    head = Text.assemble(
        (result.outcome.value.upper(), OUTCOME_STYLES[result.outcome]),
        f"  deadline {format_ns(target.deadline_ns)}, {allowed}, ",
        f"{target.confidence_percent:g} % confidence",
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for trial in result.trials:
        for place, line in enumerate(_lines(trial)):
            grid.add_row(Text(trial.name if place == 0 else "", "bold"), line)
    for scenario in result.not_measured:
        grid.add_row(Text(scenario, "bold"), Text("was not measured", "bold yellow"))
    return Padding(Group(head, grid), (0, 1))


def _lines(trial: TrialResult) -> Iterator[Text]:
    verdict = trial.verdict
    word, _, rest = verdict.sentence.partition(":")
    yield Text.assemble((word, OUTCOME_STYLES[verdict.outcome]), f":{rest}" if rest else "")
    for reason in verdict.reasons:
        if reason not in verdict.sentence:
            yield Text(reason, _ASIDE)


def finding_lines(trial: TrialResult) -> Iterator[tuple[str, Text]]:
    """What convergence, stationarity, periods and tail say, by the label of the line."""
    analysis = trial.analysis
    if analysis.convergence:
        for finding in analysis.convergence.findings:
            yield "converging", Text(finding, "yellow")
    if analysis.stationarity:
        for finding in analysis.stationarity.findings:
            yield "stationary", Text(finding, "yellow")
    if analysis.periods:
        for finding in analysis.periods.findings:
            yield "periodic", Text(finding)
    yield "projection", tail_line(trial)


def tail_line(trial: TrialResult) -> Text:
    """The advisory projection, or why there is none."""
    tail = trial.analysis.tail
    if tail.refused:
        return Text(f"none (advisory): {tail.refused}", _ASIDE)
    levels = "; ".join(_level(level) for level in tail.levels)
    check = tail.holdout
    held = "" if check is None else ("; hold-out hit" if check.hit else "; hold-out missed")
    return Text(f"advisory, under unchanged conditions: {levels}{held}", _ASIDE)


def _level(level: Level) -> str:
    span = format_span(level.horizon_ns)
    if level.refused or level.value_ns is None or level.upper_ns is None:
        return f"{span}: none ({level.refused})"
    return f"{span}: {format_ns(level.value_ns)}, at most {format_ns(level.upper_ns)}"
