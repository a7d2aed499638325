"""Markdown for the summary page of a CI job: the verdict first, then figures and conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Final

from vmjitter.report.exporters.base import Exporter, Material, overruns_of, text, verdict_of
from vmjitter.report.exporters.words import (
    NOT_MEASURED,
    OUTCOMES,
    machines,
    origin,
    plain,
    remarks,
    sentence,
    target_text,
)
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.histogram import Histogram
from vmjitter.stats.summary import P50, P99, P999, supported
from vmjitter.stats.verdict import Outcome
from vmjitter.units import format_ns

_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]|~#$]")
_BLOCK: Final = re.compile(r"^(\d*)([-+=.)])")
"""What makes a list or a heading at the beginning of a line."""
_COLUMNS: Final = (
    "trial",
    "verdict",
    "wake-ups",
    "overruns",
    "misses",
    "p50",
    "p99",
    "p99.9",
    "max",
)
_LEFT: Final = 2
_NONE: Final = "\N{EN DASH}"
_AT_LEAST: Final = "\N{GREATER-THAN OR EQUAL TO}\N{NO-BREAK SPACE}"


def _render(material: Material) -> Iterator[str]:
    result = material.result
    info = result.run.info
    yield f"## {OUTCOMES[result.outcome]}: {escape(info.title or info.plan)}\n\n"
    target = target_text(result)
    yield f"{escape(target.capitalize() if target else 'No deadline was given.')}\n\n"
    yield from _list(_sentences(result))
    yield from _table(result)
    yield from _section("Conditions", _grouped(result, ("condition",)))
    yield from _section("Notes", _grouped(result, ("deviation", "repeated", "not known", "note")))
    yield from _section("Measured with", (f"{name}: {value}" for name, value in machines(result)))
    yield f"<sub>{escape(origin(result))}</sub>\n"


def escape(words: str) -> str:
    """A text as Markdown that shows exactly that text, also within a table."""
    safe = plain(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _BLOCK.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", safe))


def _sentences(result: RunResult) -> Iterator[str]:
    for trial in result.trials:
        verdict = verdict_of(trial)
        yield f"**{escape(trial.name)}: {OUTCOMES[verdict.outcome]}.** {escape(sentence(trial))}"
        for kind, words in remarks(trial):
            if kind in {"INVALID", "incomplete"}:
                yield f"**{escape(trial.name)}: {kind}:** {escape(words)}"
    for name in result.not_measured:
        yield f"**{escape(name)}** {escape(NOT_MEASURED)}"


def _table(result: RunResult) -> Iterator[str]:
    yield _row(_COLUMNS)
    yield _row(["---"] * _LEFT + ["---:"] * (len(_COLUMNS) - _LEFT))
    for trial in result.trials:
        yield _row(_cells(trial))
    yield "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cells(trial: TrialResult) -> list[str]:
    verdict, histogram = verdict_of(trial), trial.trial.digest.histogram
    outcome = OUTCOMES[verdict.outcome]
    state = "INVALID" if trial.reasons else "incomplete" if trial.incomplete else ""
    overruns = overruns_of(trial)
    misses = _NONE if verdict.outcome is Outcome.NONE else _count(verdict.misses)
    return [
        escape(trial.name),
        f"{outcome}, {state}" if state else outcome,
        _count(histogram.total),
        _NONE if overruns is None else _count(overruns),
        misses,
        *(_quantile(histogram, share) for share in (P50, P99, P999)),
        _maximum(histogram),
    ]


def _quantile(histogram: Histogram, share: Fraction) -> str:
    found = histogram.quantile(share) if supported(share, histogram.total) else None
    if found is None:
        return _NONE
    return f"{_AT_LEAST if found.at_least else ''}{format_ns(found.value_ns)}"


def _maximum(histogram: Histogram) -> str:
    if histogram.max_ns is not None:
        return format_ns(histogram.max_ns)
    return f"{_AT_LEAST}{format_ns(histogram.overflow_from_ns)}" if histogram.overflow else _NONE


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")


def _grouped(result: RunResult, kinds: tuple[str, ...]) -> list[str]:
    """Remarks of these kinds; one that several trials share is said once."""
    names: dict[str, list[str]] = {}
    for trial in result.trials:
        for kind, words in remarks(trial):
            if kind in kinds:
                full = words if kind in {"condition", "note"} else f"{kind}: {words}"
                names.setdefault(full, []).append(trial.name)
    everywhere = len(result.trials)
    lines = [
        words if len(trials) == everywhere else f"{', '.join(trials)}: {words}"
        for words, trials in names.items()
    ]
    return lines + [note for note in result.run.notes if "note" in kinds]


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    items = [escape(line) for line in lines]
    if items:
        yield f"**{title}**\n\n"
        yield from _list(items)


def _list(items: Iterable[str]) -> Iterator[str]:
    yield from (f"* {item}\n" for item in items)
    yield "\n"


EXPORTER: Final = Exporter(
    name="markdown",
    what="a summary for the page of a CI job: verdict, table, conditions",
    suffix=".md",
    write=text(_render),
)
