"""What each mitigation of an ablation brings: from the trials of a run to a table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.factorial import Cell, Factorial, Ratio, factorial
from vmjitter.units import format_ns

_NONE: Final = "\N{EN DASH}"
_NAME_COLUMNS: Final = 18


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One combination of mitigations.

    Attributes:
        trials: how many valid ones there are.
        p999_ns: median of their p99.9; None if it is not supported.
        max_ns: median of their maxima; ``least_ns`` and ``most_ns``: the extreme ones.
    """

    scenario: str
    mitigations: tuple[str, ...]
    trials: int
    p50_ns: float | None
    p999_ns: float | None
    max_ns: float
    least_ns: int
    most_ns: int


@dataclass(frozen=True, kw_only=True)
class AblationResult:
    """A run that is an ablation.

    Attributes:
        names: of the mitigations.
        worst: contributions to the worst latency; ``p999``: to the p99.9.
        left_out: trials that are not valid.
    """

    names: tuple[str, ...]
    cells: tuple[CellResult, ...]
    worst: Factorial
    p999: Factorial
    left_out: tuple[str, ...]


def ablation(result: RunResult) -> AblationResult | None:
    """Take the contributions of a run's mitigations apart; None if it is no ablation."""
    names = tuple(
        dict.fromkeys(name for trial in result.trials for name in trial.status.mitigations)
    )
    if not names:
        return None
    valid = [trial for trial in result.trials if trial.valid and trial.summary.max_ns is not None]
    percent = result.target.confidence_percent
    worst = {_key(trial): float(trial.summary.max_ns or 0) for trial in valid}
    p999 = {_key(trial): float(trial.summary.p999_ns or 0) for trial in valid}
    return AblationResult(
        names=names,
        cells=_cells(valid),
        worst=factorial(worst, names, confidence_percent=percent),
        p999=factorial(p999, names, confidence_percent=percent),
        left_out=tuple(trial.name for trial in result.trials if not trial.valid),
    )


def _key(trial: TrialResult) -> tuple[Cell, int]:
    return frozenset(trial.status.mitigations), trial.status.round


def _cells(trials: list[TrialResult]) -> tuple[CellResult, ...]:
    groups: dict[str, list[TrialResult]] = {}
    for trial in trials:
        groups.setdefault(trial.scenario, []).append(trial)
    return tuple(_cell(name, group) for name, group in groups.items())


def _cell(scenario: str, trials: list[TrialResult]) -> CellResult:
    worst = [trial.summary.max_ns for trial in trials if trial.summary.max_ns is not None]
    return CellResult(
        scenario=scenario,
        mitigations=trials[0].status.mitigations,
        trials=len(trials),
        p50_ns=_median([trial.summary.p50_ns for trial in trials]),
        p999_ns=_median([trial.summary.p999_ns for trial in trials]),
        max_ns=median(worst),
        least_ns=min(worst),
        most_ns=max(worst),
    )


def _median(values: list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None


def ablation_block(found: AblationResult) -> RenderableType:
    """Combinations, then contributions, then how they act together."""
    parts: list[RenderableType] = [
        Text("What each mitigation brings", "bold"),
        Padding(_cell_table(found), (1, 0)),
        _effect_table(found),
        Text(_legend(found), "dim"),
    ]
    if found.left_out:
        text = f"Left out, because not valid: {', '.join(found.left_out)}."
        parts.append(Text(text, "yellow"))
    return Padding(Group(*parts), (1, 1, 0, 1))


def _table(*columns: str, whole: bool = True) -> Table:
    """A table with names at the left; figures are kept ``whole``, or may take two lines."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(columns[0], min_width=_NAME_COLUMNS, overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=whole)
    return table


def _cell_table(found: AblationResult) -> Table:
    table = _table("with", "trials", "p50", "p99.9", "max", "from", "to")
    for cell in sorted(found.cells, key=lambda cell: (len(cell.mitigations), -cell.max_ns)):
        table.add_row(
            ", ".join(cell.mitigations) or "none of them",
            str(cell.trials),
            *(_time(value) for value in (cell.p50_ns, cell.p999_ns, cell.max_ns)),
            *(_time(value) for value in (cell.least_ns, cell.most_ns)),
        )
    return table


def _effect_table(found: AblationResult) -> Table:
    p999 = {effect.mitigation: effect.average for effect in found.p999.effects}
    heads = ["mitigation", "max: average", "alone", "added last"]
    table = _table(*heads, *(["p99.9: average"] if p999 else []), whole=False)
    for effect in found.worst.effects:
        ratios = [effect.average, effect.alone, effect.last]
        ratios += [p999.get(effect.mitigation)] if p999 else []
        table.add_row(effect.mitigation, *map(ratio_text, ratios))
    if found.worst.all_together is not None:
        table.add_row("all together", ratio_text(found.worst.all_together))
    for one in found.worst.interactions:
        table.add_row(f"{one.one} and {one.other} interact", ratio_text(one.ratio))
    return table


def _legend(found: AblationResult) -> str:
    return (
        "Factors on the latency: below 1 is better. In brackets the "
        f"{found.worst.confidence_percent:g} % interval over rounds (Student's, on logarithms). "
        "max: median of the trials' worst latencies. Interaction: 1 if both act independently; "
        "above 1 if one leaves less for the other, below 1 if they need each other."
    )


def ratio_text(ratio: Ratio | None) -> Text:
    """A factor with its interval; bold if the interval excludes 1."""
    if ratio is None:
        return Text(_NONE, "dim")
    text = f"{ratio.estimate:.2g}"
    if ratio.low is not None and ratio.high is not None:
        text += f" ({ratio.low:.2g} to {ratio.high:.2g})"
    style = "" if not ratio.shown else ("bold green" if ratio.estimate < 1 else "bold red")
    return Text(text, style)


def _time(value_ns: float | None) -> str:
    return _NONE if value_ns is None else format_ns(round(value_ns))
