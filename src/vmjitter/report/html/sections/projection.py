"""The advisory projection to longer times, with every gate it had to pass."""

from __future__ import annotations

from vmjitter.report.html.blocks import (
    Block,
    Bullets,
    Fold,
    Row,
    Section,
    Table,
    Tone,
    number,
    paragraphs,
    row,
    table,
)
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.view import PageView, TrialView, exact, grouped
from vmjitter.stats.tail import Gate, HoldOut, Level, Projection
from vmjitter.units import format_span


def section(view: PageView) -> Section | None:
    """Levels of all trials in one table, gates and hold-out of each folded below."""
    trials = view.awake
    if not trials:
        return None
    blocks: list[Block] = [paragraphs(f"Advisory. {trials[0].result.analysis.tail.note}")]
    allowed = [trial for trial in trials if not trial.result.analysis.tail.refused]
    if allowed:
        blocks.append(_levels(allowed))
    refused = [trial for trial in trials if trial not in allowed]
    if refused:
        items = tuple(f"{one.name}: {one.result.analysis.tail.refused}" for one in refused)
        blocks.append(Bullets(title="Refused", items=items, tone=Tone.WARN))
    blocks += [_fold(trial) for trial in trials]
    return Section(anchor="projection", title="Projection to longer times", blocks=tuple(blocks))


def _levels(trials: list[TrialView]) -> Table:
    confidence = trials[0].result.analysis.tail.confidence_percent
    rows = [_level(trial, level) for trial in trials for level in trial.result.analysis.tail.levels]
    return table(
        "Latency that one burst of late wake-ups exceeds on average",
        ("trial", "in a time of", "latency", f"upper limit, {confidence:g} %", "remark"),
        rows,
    )


def _level(trial: TrialView, level: Level) -> Row:
    return row(
        words(trial.name),
        number(format_span(level.horizon_ns)),
        number(exact(level.value_ns)),
        number(exact(level.upper_ns)),
        words(level.refused),
    )


def _fold(trial: TrialView) -> Fold:
    tail = trial.result.analysis.tail
    passed = sum(gate.passed for gate in tail.gates)
    rows = [_gate(gate) for gate in tail.gates]
    blocks: list[Block] = [
        table(f"Gates of {trial.name}", ("gate", "result", "what decided"), rows),
        paragraphs(_holdout(tail.holdout), _law(tail)),
    ]
    title = f"{trial.name}: {passed} of {len(tail.gates)} gates passed"
    return Fold(title=title, blocks=tuple(blocks))


def _gate(gate: Gate) -> Row:
    verdict = words("passed", Tone.GOOD) if gate.passed else words("failed", Tone.BAD)
    return row(words(gate.name), verdict, words(gate.detail))


def _holdout(check: HoldOut | None) -> str:
    if check is None:
        return "Hold-out check: not made; see the gates."
    return (
        f"Hold-out check: the first {check.fitted_percent} % of the trial predict the latest "
        f"wake-up of the rest between {exact(check.predicted_low_ns)} and "
        f"{exact(check.predicted_high_ns)}; it was {exact(check.observed_ns)}: "
        f"{'hit' if check.hit else 'missed'}."
    )


def _law(tail: Projection) -> str:
    fit = tail.fit
    if fit is None:
        return ""
    return (
        f"Law: generalised Pareto above {exact(fit.chosen.threshold_ns)}, from "
        f"{grouped(fit.chosen.clusters)} bursts of {grouped(fit.chosen.exceedances)} wake-ups; "
        f"shape {fit.chosen.shape:.3f} ({fit.shape_low:.3f} to {fit.shape_high:.3f}; "
        f"{fit.shape_by_moments:.3f} by L-moments), scale {exact(round(fit.chosen.scale_ns))}, "
        f"extremal index {fit.chosen.theta:.2f}."
    )
