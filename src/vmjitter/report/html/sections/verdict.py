"""The verdict: first on the page, and legible on its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmjitter.report.html.blocks import (
    Block,
    Bullets,
    Section,
    Tone,
    TrialVerdict,
    Verdict,
)
from vmjitter.report.html.view import PageView, TrialView, exact, grouped, setting
from vmjitter.report.result import RunResult
from vmjitter.stats.verdict import Outcome
from vmjitter.units import format_span

TONES: Final = {
    Outcome.PASS: Tone.GOOD,
    Outcome.FAIL: Tone.BAD,
    Outcome.INCONCLUSIVE: Tone.WARN,
    Outcome.NONE: Tone.ASIDE,
}
_WORDS: Final = {
    Outcome.PASS: "PASS",
    Outcome.FAIL: "FAIL",
    Outcome.INCONCLUSIVE: "INCONCLUSIVE",
    Outcome.NONE: "NO DEADLINE",
}


def section(view: PageView) -> Section:
    """The box, and what speaks against the run as a whole."""
    outcome = view.result.outcome
    box = Verdict(
        word=_WORDS[outcome],
        tone=TONES[outcome],
        target=_target(view.result),
        trials=tuple(_trial(trial) for trial in view.trials),
    )
    return Section(anchor="verdict", title="Verdict", blocks=(box, *_remarks(view)))


def _target(result: RunResult) -> str:
    target = result.target
    if target.deadline_ns is None:
        return "No deadline was given, so there is nothing to pass or to fail: figures only."
    rate = target.max_misses_per_hour
    allowed = (
        "any miss fails"
        if rate is None
        else f"at most {rate:g} {'miss' if rate == 1 else 'misses'} per hour"
    )
    return (
        f"Deadline {setting(target.deadline_ns)}, {allowed}, "
        f"{target.confidence_percent:g} % confidence. A miss is a wake-up later than the deadline "
        "or a missed activation; rates count activations."
    )


def _trial(trial: TrialView) -> TrialVerdict:
    verdict = trial.result.verdict
    word, found, rest = verdict.sentence.partition(":")
    if not found or word.upper() != word:
        word, rest = _WORDS[verdict.outcome], verdict.sentence
    reasons = (*verdict.reasons, *trial.result.reasons, trial.result.incomplete_text)
    said = [one for one in dict.fromkeys(reasons) if one and one not in verdict.sentence]
    return TrialVerdict(
        name=trial.name,
        word=_WORDS[verdict.outcome] if verdict.outcome is Outcome.NONE else word.strip(),
        tone=TONES[verdict.outcome],
        sentence=rest.strip(),
        reasons=tuple(said),
        figures=tuple(_figures(trial)),
    )


def _figures(trial: TrialView) -> Iterator[tuple[str, str]]:
    """The few figures that a reader takes away."""
    summary = trial.result.summary
    yield "worst", exact(summary.max_ns)
    if summary.overruns:
        yield "overruns", grouped(summary.overruns)
    if summary.misses is not None:
        yield "misses", grouped(summary.misses)
    yield "wake-ups", grouped(summary.count)
    if trial.digest.duration_ns:
        yield "measured", format_span(trial.digest.duration_ns)


def _remarks(view: PageView) -> Iterator[Block]:
    result = view.result
    if result.not_measured:
        yield Bullets(title="Not measured", items=tuple(result.not_measured), tone=Tone.BAD)
    notes = [*(local(view, note) for note in result.run.notes), *_conditions(view)]
    if notes:
        yield Bullets(title="To be known first", items=tuple(notes), tone=Tone.WARN)
    strange = [
        f"{trial.name}: {local(view, words)}" for trial in view.trials for words in unusual(trial)
    ]
    if strange:
        yield Bullets(title="Unusual", items=tuple(strange), tone=Tone.WARN)


def local(view: PageView, words: str) -> str:
    """Words without the place of the run on the machine that wrote the page."""
    return words.replace(f"{view.result.run.path}/", "")


def _conditions(view: PageView) -> Iterator[str]:
    result = view.result
    if result.run.info.simulation:
        model = result.run.info.simulation.get("model", "simulated host")
        yield (
            f"Measured in a {model}: it shows structure and causes, and promises no number of a "
            "real machine."
        )
    named: dict[str, list[str]] = {}
    for trial in view.trials:
        for condition in trial.result.conditions:
            named.setdefault(condition, []).append(trial.name)
    for condition, names in named.items():
        everywhere = len(names) == len(view.trials)
        yield condition if everywhere else f"{condition} ({', '.join(names)})"


def unusual(trial: TrialView) -> Iterator[str]:
    """What a reader of one trial's figures must not overlook."""
    result = trial.result
    if result.summary.negative:
        yield f"{grouped(result.summary.negative)} wake-ups before their planned time"
    if result.incomplete and result.status.error and not result.reasons:
        yield result.status.error
    for reason in result.status.repeated:
        yield f"measured again from its start: {reason}"
    for deviation in result.status.deviations:
        yield f"deviation from the plan: {deviation}"
    yield from result.notes
    overflow = trial.digest.histogram.overflow
    if overflow:
        yield f"{grouped(overflow)} wake-ups beyond the last bin of the source"
    if result.trial.lacks:
        lacks = ", ".join(sorted(lack.value for lack in result.trial.lacks))
        yield f"the source does not tell {lacks}"
