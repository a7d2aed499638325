"""`vmjitter plan`: how long to measure for a claim, and what a given time can claim."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vmjitter.cli.output import stdout
from vmjitter.cli.target import NO_TARGET, Confidence, Deadline, MaxMisses, retarget
from vmjitter.errors import UsageError
from vmjitter.model.judge import Target
from vmjitter.stats.planning import (
    PASSES_PERCENT,
    Coverage,
    Shown,
    TimeNeeded,
    WakeUpsNeeded,
    coverage,
    fails_from,
    shown,
    time_needed,
    wake_ups_needed,
)
from vmjitter.stats.verdict_words import (
    at_least,
    at_most,
    number,
    per_hour,
    per_million,
    span_needed,
)
from vmjitter.units import format_span, parse_duration

_HELP = """Calculate how long to measure for a claim, or what a given time can claim. Nothing is \
measured.

A claim is "at most so many misses per hour, with 95 % confidence", as `vmjitter report` judges \
it, or the upper limit of a quantile. Misses that come together are one episode; here each miss is \
taken as an episode of its own, which is the most expensive way to come.

This is not about plan files, which say what is measured: for these see `vmjitter run --help`.

Examples:

  vmjitter plan --max-misses-per-hour 1

  vmjitter plan --max-misses-per-hour 1 --confidence 99 --interval 1ms --expected-misses 3

  vmjitter plan --duration 8h --interval 1ms

  vmjitter plan --duration 8h --max-misses-per-hour 1      does this time do?

  vmjitter plan --quantile 99.999 --interval 250us

  vmjitter plan --max-misses-per-hour 1 --json | jq '.time_needed[0].duration_ns'
"""

PLAN_FORMAT: Final = 1
"""Version of the JSON; keys may be added without a new number."""

_MOST_MISSES: Final = 100
_LONGEST: Final = "36500d"
_NEXT: Final = "add --max-misses-per-hour, --duration or --quantile, e.g. --max-misses-per-hour 1"


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What was asked for, and the answers; an answer that was not asked for is None or empty."""

    target: Target
    period_ns: int
    duration_ns: int | None
    time_needed: tuple[TimeNeeded, ...]
    shown: tuple[Shown, ...]
    fails_from_misses: int | None
    coverage: Coverage | None
    quantile: tuple[WakeUpsNeeded, ...]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("plan", help=_HELP, rich_help_panel="Judge")(plan)


def plan(
    name: Annotated[str | None, typer.Argument(hidden=True)] = None,
    max_misses_per_hour: MaxMisses = None,
    duration: Annotated[
        str | None, typer.Option("-D", "--duration", help="What can this time claim? e.g. 8h.")
    ] = None,
    quantile: Annotated[
        str | None,
        typer.Option("--quantile", help="How many wake-ups does it need? In percent, e.g. 99.999."),
    ] = None,
    expected_misses: Annotated[
        int, typer.Option("--expected-misses", help="Also for 1 to so many misses seen.")
    ] = 3,
    confidence: Confidence = None,
    interval: Annotated[
        str | None,
        typer.Option("-i", "--interval", "--period", help="Period, e.g. 1ms; a number means µs."),
    ] = None,
    deadline: Deadline = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as JSON on stdout.")
    ] = False,
) -> None:
    """See `_HELP`."""
    if name is not None:
        raise UsageError(
            f"`vmjitter plan` calculates how long to measure; {name!r} is nothing to it",
            hint=f"to measure what a plan file says: vmjitter run {name}",
        )
    if max_misses_per_hour is None and duration is None and quantile is None:
        raise UsageError("there is nothing to calculate", hint=_NEXT)
    answer = _answer(
        _target(deadline, max_misses_per_hour, confidence),
        period_ns=_period(interval),
        duration_ns=None if duration is None else _duration(duration),
        share=None if quantile is None else _share(quantile),
        most=_misses(expected_misses),
    )
    if as_json:
        typer.echo(json.dumps(_data(answer), indent=2, allow_nan=False, default=float))
        return
    console = stdout()
    for section in _sections(answer):
        console.print()
        for part in section:
            console.print(part)


def _target(deadline: str | None, max_misses: float | None, confidence: float | None) -> Target:
    """The target; a deadline is not needed to calculate."""
    any_deadline = "1ms" if deadline is None and max_misses is not None else deadline
    return retarget(NO_TARGET, any_deadline, max_misses, confidence)


def _period(interval: str | None) -> int:
    if interval is None:
        return 0
    period_ns = parse_duration(f"{interval}us" if interval.isdecimal() else interval)
    if not period_ns:
        raise UsageError("the period must be longer than nothing", hint="write e.g. 1ms")
    return period_ns


def _duration(text: str) -> int:
    duration_ns = parse_duration(text)
    if not 0 < duration_ns <= parse_duration(_LONGEST):
        raise UsageError(
            f"nobody measures for {text}", hint=f"give a time up to {_LONGEST}, e.g. 8h"
        )
    return duration_ns


def _share(text: str) -> Fraction:
    if not re.fullmatch(r"\d{2}(\.\d{1,9})?", text) or Fraction(text) <= 50:
        raise UsageError(
            f"{text!r} is no quantile that has an upper limit",
            hint="give a number above 50 and below 100, in percent, e.g. 99.999",
        )
    return Fraction(text) / 100


def _misses(count: int) -> int:
    if not 0 <= count <= _MOST_MISSES:
        raise UsageError(
            f"{count} expected misses make no sense here", hint=f"give 0 to {_MOST_MISSES}"
        )
    return count


def _answer(
    target: Target,
    *,
    period_ns: int,
    duration_ns: int | None,
    share: Fraction | None,
    most: int,
) -> _Answer:
    percent, rate = target.confidence_percent, target.max_misses_per_hour
    fitting = _fitting(duration_ns, period_ns, most)
    return _Answer(
        target=target,
        period_ns=period_ns,
        duration_ns=duration_ns,
        time_needed=tuple(
            time_needed(rate, misses, confidence_percent=percent, period_ns=period_ns)
            for misses in range(most + 1)
            if rate is not None
        ),
        shown=tuple(
            shown(duration_ns, misses, confidence_percent=percent, period_ns=period_ns)
            for misses in fitting
            if duration_ns
        ),
        fails_from_misses=(
            fails_from(duration_ns, rate, confidence_percent=percent)
            if duration_ns and rate is not None
            else None
        ),
        coverage=(
            coverage(duration_ns // period_ns, confidence_percent=percent)
            if duration_ns and period_ns
            else None
        ),
        quantile=tuple(
            wake_ups_needed(share, beyond, confidence_percent=percent, period_ns=period_ns)
            for beyond in range(most + 1)
            if share is not None
        ),
    )


def _fitting(duration_ns: int | None, period_ns: int, most: int) -> range:
    """The numbers of misses that fit into the time."""
    if not duration_ns or not period_ns:
        return range(most + 1)
    if duration_ns < period_ns:
        raise UsageError(
            f"{format_span(duration_ns)} is shorter than one period of {format_span(period_ns)}",
            hint="give a longer time, or a shorter period",
        )
    return range(min(most, duration_ns // period_ns) + 1)


def _data(answer: _Answer) -> dict[str, object]:
    """The answer for JSON; times in nanoseconds, fractions become numbers."""
    return {
        "format": PLAN_FORMAT,
        "confidence_percent": answer.target.confidence_percent,
        "max_misses_per_hour": answer.target.max_misses_per_hour,
        "period_ns": answer.period_ns or None,
        "duration_ns": answer.duration_ns,
        "time_needed": [dataclasses.asdict(one) for one in answer.time_needed],
        "shown": [dataclasses.asdict(one) for one in answer.shown],
        "fails_from_misses": answer.fails_from_misses,
        "coverage": dataclasses.asdict(answer.coverage) if answer.coverage else None,
        "quantile": [dataclasses.asdict(one) for one in answer.quantile],
    }


def _sections(answer: _Answer) -> Iterator[Iterator[RenderableType]]:
    if answer.time_needed:
        yield _time_part(answer)
    if answer.shown:
        yield _shown_part(answer)
    if answer.quantile:
        yield _quantile_part(answer)
    yield iter(
        [
            _text(
                "Fix length, load and target before you measure; who measures on until it passes "
                "errs more often than stated.",
                "dim",
            )
        ]
    )


def _time_part(answer: _Answer) -> Iterator[RenderableType]:
    rate = f"{answer.target.max_misses_per_hour:g}"
    yield _text(f"To show at most {per_hour(rate)} with {_confidence(answer)}, measure:", "bold")
    counted = answer.period_ns > 0
    table = _table("misses seen", "time", *(["activations"] if counted else []), "passes at")
    for one in answer.time_needed:
        activations = [number(one.activations)] if one.activations is not None else []
        passes = f"{at_least(one.passes_at_per_hour)} /h"
        table.add_row(str(one.misses), span_needed(one.duration_ns), *activations, passes)
    yield Padding(table, (0, 1))
    yield _text(
        f"passes at: the true rate at which {PASSES_PERCENT:g} of 100 such measurements pass. To "
        "allow for some misses takes longer, but then a good machine is not failed by one of them."
    )


def _shown_part(answer: _Answer) -> Iterator[RenderableType]:
    time = format_span(answer.duration_ns or 0)
    yield _text(f"What {time} can claim with {_confidence(answer)}:", "bold")
    rate = answer.target.max_misses_per_hour
    shares = answer.period_ns > 0
    heads = ["at most"] + ["of the activations"] * shares + ["verdict"] * (rate is not None)
    table = _table("misses seen", *heads)
    for one in answer.shown:
        cells = [str(one.misses), f"{at_most(one.misses_per_hour_upper)} misses/h"]
        if one.share_upper is not None:
            cells.append(per_million(one.share_upper))
        if rate is not None:
            cells.append(_verdict(one, rate))
        table.add_row(*cells)
    yield Padding(table, (0, 1))
    if answer.fails_from_misses is not None:
        count = answer.fails_from_misses
        misses = "a single miss is" if count == 1 else f"{number(count)} misses or more are"
        yield _text(f"In this time, {misses} a FAIL.")
    if answer.coverage:
        yield _text(_coverage_text(answer.coverage, answer.target.confidence_percent))


def _verdict(one: Shown, rate: float) -> str:
    if one.misses_per_hour_upper <= rate:
        return "PASS"
    return "FAIL" if one.misses_per_hour_lower > rate else "INCONCLUSIVE"


def _coverage_text(found: Coverage, confidence_percent: float) -> str:
    listed = ", ".join(found.quantiles) or "no quantile"
    return (
        f"{number(found.wake_ups)} wake-ups support {listed}. With {confidence_percent:g} % "
        f"confidence their maximum covers all but {at_most(1e6 * (1 - found.max_covers))} per "
        "million of the wake-ups to come."
    )


def _quantile_part(answer: _Answer) -> Iterator[RenderableType]:
    label = answer.quantile[0].label
    yield _text(f"For an upper limit of {label} with {_confidence(answer)}, measure:", "bold")
    timed = answer.period_ns > 0
    table = _table("beyond the limit", "wake-ups", *(["time"] if timed else []))
    for one in answer.quantile:
        time = [span_needed(one.duration_ns)] if one.duration_ns is not None else []
        table.add_row(str(one.beyond), number(one.wake_ups), *time)
    yield Padding(table, (0, 1))
    yield _text(
        "beyond the limit: so many of the latest wake-ups; with 0 the limit is the maximum, which "
        "a single strange wake-up decides."
    )


def _confidence(answer: _Answer) -> str:
    return f"{answer.target.confidence_percent:g} % confidence"


def _text(text: str, style: str = "") -> RenderableType:
    return Padding(Text(text, style), (0, 1))


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for head in (first, *others):
        table.add_column(head, justify="right", no_wrap=True)
    return table
