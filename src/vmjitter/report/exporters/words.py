"""What every export says beside its figures: where they come from, and under which conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from vmjitter.report.exporters.base import overruns_of, verdict_of
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.histogram import Histogram
from vmjitter.stats.verdict import Outcome
from vmjitter.units import NS_PER_S, format_ns

NOT_MEASURED: Final = "not measured: the run ended before"

_NOT_IN_A_LINE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")

OUTCOMES: Final = {
    Outcome.PASS: "PASS",
    Outcome.FAIL: "FAIL",
    Outcome.INCONCLUSIVE: "INCONCLUSIVE",
    Outcome.NONE: "NOT JUDGED",
}

_VERDICT: Final = re.compile(rf"(?:{'|'.join(OUTCOMES.values())}): ")


def plain(text: str) -> str:
    """A text on one line, without characters that some format cannot hold."""
    return _NOT_IN_A_LINE.sub(" ", text).strip()


def slug(trial: TrialResult) -> str:
    """The name of a trial without a blank, for formats that separate by it."""
    number = f".{trial.status.round}" if trial.status.round else ""
    return re.sub(r"[\s,;#]+", "_", plain(trial.scenario)) + number


def origin(result: RunResult) -> str:
    """Which run it is."""
    info = result.run.info
    begun = f" of {info.created_utc}" if info.created_utc else ""
    title = f": {info.title}" if info.title and info.title != info.plan else ""
    return plain(f"vmjitter {info.vmjitter}, run {info.plan}{begun}{title}")


def target_text(result: RunResult) -> str:
    """What the run is held against; empty without a deadline."""
    target = result.target
    if target.deadline_ns is None:
        return ""
    rate = target.max_misses_per_hour
    allowed = "no miss" if rate is None else f"at most {rate:g} misses per hour"
    return (
        f"deadline {format_ns(target.deadline_ns)}, {allowed} allowed, "
        f"confidence {target.confidence_percent:g} %"
    )


def sentence(trial: TrialResult) -> str:
    """What the verdict says, without the verdict itself."""
    said = plain(verdict_of(trial).sentence)
    word = _VERDICT.match(said)
    return said[word.end() :] if word else said


def verdict_text(trial: TrialResult) -> str:
    """The verdict with its sentence."""
    return f"{OUTCOMES[verdict_of(trial).outcome]}: {sentence(trial)}"


def machines(result: RunResult) -> Iterator[tuple[str, str]]:
    """What measured, as name and text."""
    info = result.run.info
    facts = {
        "simulated host": info.simulation.get("machine"),
        "model": info.simulation.get("model"),
        "host CPU": info.host.get("cpu"),
        "host kernel": info.host.get("kernel"),
        "QEMU": info.qemu.get("version"),
        "accelerator": info.qemu.get("accel"),
        "guest kernel": info.qemu.get("kernel_release"),
        "measured by": info.host.get("tool"),
        "command": info.host.get("command"),
    }
    return ((name, plain(value)) for name, value in facts.items() if value)


def remarks(trial: TrialResult) -> Iterator[tuple[str, str]]:
    """What has to be said of a trial, as kind and text, the most important first."""
    for kind, texts in _remarks(trial):
        for text in texts:
            yield kind, plain(text)


def _remarks(trial: TrialResult) -> Iterator[tuple[str, Iterable[str]]]:
    status = trial.status
    yield "INVALID", trial.reasons
    if trial.incomplete:
        yield "incomplete", [f"{trial.recorded} of {trial.loops} activations"]
    verdict = verdict_of(trial)
    yield "reason", (why for why in verdict.reasons if why not in verdict.sentence)
    yield "condition", trial.conditions
    yield "deviation", status.deviations
    yield "repeated", status.repeated
    yield "not known", sorted(lack.value for lack in trial.trial.lacks)
    yield "note", trial.notes
    yield "note", _counted_apart(trial.trial.digest.histogram)


def _counted_apart(histogram: Histogram) -> Iterator[str]:
    """Wake-ups that quantiles and plots do not show as they are."""
    if histogram.negative:
        yield f"wake-ups before their planned time: {histogram.negative}"
    if histogram.overflow:
        least = format_ns(histogram.overflow_from_ns)
        yield f"wake-ups only known to be {least} late or more: {histogram.overflow}"
    if histogram.resolution_ns > 1:
        yield f"latencies are known in bins of up to {format_ns(histogram.resolution_ns)} only"


def figures(trial: TrialResult) -> list[tuple[str, int | None]]:
    """The figures of a trial by the names that they have in the JSON of ``vmjitter report``.

    None is what is not known, or does not exist.
    """
    summary, histogram = trial.summary, trial.trial.digest.histogram
    verdict = verdict_of(trial)
    misses = None if verdict.outcome is Outcome.NONE else verdict.misses
    return [
        ("period_ns", trial.period_ns),
        ("loops", trial.loops),
        ("recorded", trial.recorded),
        ("count", histogram.total),
        ("overruns", overruns_of(trial)),
        ("overflow", histogram.overflow),
        ("overflow_from_ns", histogram.overflow_from_ns if histogram.overflow else None),
        ("negative", histogram.negative),
        ("misses", misses),
        ("min_ns", histogram.min_ns),
        ("p50_ns", summary.p50_ns),
        ("p99_ns", summary.p99_ns),
        ("p999_ns", summary.p999_ns),
        ("max_ns", histogram.max_ns),
        ("resolution_ns", histogram.resolution_ns),
    ]


def about(trial: TrialResult) -> dict[str, object]:
    """All of the above as one record, for formats whose metadata are JSON."""
    verdict, status = verdict_of(trial), trial.status
    return {
        "scenario": plain(status.scenario),
        "round": status.round,
        "title": status.title,
        "accel": status.accel,
        **dict(figures(trial)),
        "valid": trial.valid,
        "incomplete": trial.incomplete,
        "invalid": list(trial.reasons),
        "verdict": verdict.outcome.value,
        "sentence": verdict.sentence,
        "reasons": list(verdict.reasons),
        "assumptions": list(verdict.assumptions),
        "conditions": list(trial.conditions),
        "deviations": list(status.deviations),
        "lacks": sorted(lack.value for lack in trial.trial.lacks),
        "notes": list(trial.notes),
    }


def comments(result: RunResult) -> Iterator[str]:
    """Lines for formats that have comments: the run, then each trial with all its remarks."""
    yield origin(result)
    target = target_text(result)
    if target:
        yield f"{target}: {OUTCOMES[result.outcome]}"
    yield from (f"{name}: {text}" for name, text in machines(result))
    yield from (f"note: {plain(note)}" for note in result.run.notes)
    for trial in result.trials:
        name = slug(trial)
        yield f"trial {name}: {plain(trial.status.title)}"
        values = (f"{key}={value}" for key, value in figures(trial) if value is not None)
        yield f"trial {name}: {' '.join(values)}"
        if target:
            yield f"trial {name}: {verdict_text(trial)}"
        yield from (f"trial {name}: {kind}: {text}" for kind, text in remarks(trial))
    yield from (f"trial {plain(name)}: {NOT_MEASURED}" for name in result.not_measured)


def decimal_seconds(value_ns: int) -> str:
    """Seconds with all nine decimals; exact, unlike a floating point number."""
    sign = "-" if value_ns < 0 else ""
    seconds, rest = divmod(abs(value_ns), NS_PER_S)
    return f"{sign}{seconds}.{rest:09}"
