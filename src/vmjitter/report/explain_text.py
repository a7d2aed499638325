"""An explanation in the terminal: a table of causes per trial, and one wake-up as a story."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vmjitter.report.explain import (
    Explanation,
    TrialExplanation,
    head_lines,
    side_of,
    title_of,
)
from vmjitter.report.explain_next import Next, next_step
from vmjitter.report.explain_split import SplitRow, split
from vmjitter.trace.attribute import Attribution, Piece, Share, Unseen
from vmjitter.trace.lift import CauseRow, table
from vmjitter.trace.parties import Party
from vmjitter.trace.rules import UNEXPLAINED
from vmjitter.units import format_ns

_ASIDE = "dim"
_WARN = "yellow"
_NONE = "\N{EN DASH}"
_NARROW = 100
_NO_QEMU = (
    "QEMU's own events were not recorded (--set trace.qemu=on): devices may have no name, locks no "
    "source line"
)
_STEPS = 12
"""A story has at most so many steps; the shorter ones are put together."""


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print the causes of each trial's late wake-ups."""
    for trial in explanation.trials:
        console.print(_trial(trial, narrow=console.width < _NARROW))
        if trial.spikes:
            _print_next(console, trial.next)
        console.print()
    rows = split(explanation)
    if len(rows) > 1:
        console.print(Text("Where the time of late wake-ups went", "bold"))
        console.print(Padding(_split(rows, narrow=console.width < _NARROW), (1, 1)))


def print_story(console: Console, explanation: Explanation, number: int) -> None:
    """Print what happened in one late wake-up, step by step.

    Args:
        console: where to.
        explanation: to which it belongs.
        number: of the wake-up in the explanation.

    Raises:
        UsageError: there is no such wake-up.
    """
    trial, one = explanation.spike(number)
    console.print(
        Text.assemble(
            (f"Late wake-up {number}", "bold"),
            f": activation {one.window.activation} of {trial.name}, "
            f"{format_ns(one.window.latency_ns)} late.",
        )
    )
    console.print(Padding(_steps(one), (1, 2)))
    for line in _sums(one):
        console.print(Padding(line, (0, 1)))
    for sentence in head_lines(trial)[1:]:
        console.print(Padding(Text(sentence, _ASIDE), (0, 1)))
    rows = table((one,), trial.controls)
    _print_next(console, next_step(explanation.run, trial.trial, rows, traced=trial.traced))


def _trial(trial: TrialExplanation, *, narrow: bool) -> RenderableType:
    parts: list[RenderableType] = [Text(trial.name, "bold")]
    parts += [Padding(Text(line), (0, 1)) for line in head_lines(trial)]
    if trial.spikes:
        parts.append(Padding(_causes(trial, narrow=narrow), (1, 1)))
        parts.append(Padding(_examples(trial), (0, 1)))
    parts += [Padding(line, (0, 1)) for line in _remarks(trial)]
    return Group(*parts)


def _causes(trial: TrialExplanation, *, narrow: bool) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    shown.add_column("cause", overflow="fold")
    for name in ("of spikes", "of time", "worst", "lift"):
        shown.add_column(name, justify="right", no_wrap=True)
    if not narrow:
        shown.add_column("side", no_wrap=True)
    for row in trial.rows:
        cells = [
            title_of(row.cause),
            _percent(row.share),
            _percent(row.time_share),
            f"{format_ns(row.worst_ns)} (#{_number(trial, row)})" if row.spikes else _NONE,
            _lift(row),
        ]
        if not narrow:
            cells.append(side_of(row.cause))
        shown.add_row(*cells, style=_ASIDE if row.cause == UNEXPLAINED else "")
    return shown


def _split(rows: Sequence[SplitRow], *, narrow: bool) -> Table:
    """A column per party that had any; on a narrow terminal a row per party instead."""
    shown = [party for party in Party if any(row.of(party).ns for row in rows)]
    named = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    if narrow:
        named.add_column("of the time", no_wrap=True)
        for row in rows:
            named.add_column(row.scenario, justify="right", overflow="fold")
        named.add_row("late wake-ups", *(str(row.spikes) for row in rows))
        named.add_row("mean latency", *(format_ns(row.mean_ns) for row in rows))
        for party in shown:
            named.add_row(str(party), *(_percent(row.of(party).share) for row in rows))
        return named
    named.add_column("scenario", overflow="fold")
    for title in ("late", "mean latency", *map(str, shown)):
        named.add_column(title, justify="right")
    for row in rows:
        cells = [_percent(row.of(party).share) for party in shown]
        named.add_row(row.scenario, str(row.spikes), format_ns(row.mean_ns), *cells)
    return named


def _number(trial: TrialExplanation, row: CauseRow) -> int:
    places = [one.window.activation for one in trial.spikes]
    return trial.number + places.index(row.worst_activation)


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.1f} %"


def _lift(row: CauseRow) -> str:
    """How much more often late wake-ups have it than ordinary ones."""
    if row.cause == UNEXPLAINED or row.lift_at_least is None:
        return _NONE
    return f"{row.lift:.1f}" if row.lift is not None else f">{row.lift_at_least:.0f}"


def _examples(trial: TrialExplanation) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for row in trial.rows:
        if row.spikes and row.example:
            grid.add_row(Text(row.cause, "bold"), Text(row.example))
    return grid


def _remarks(trial: TrialExplanation) -> Iterator[Text]:
    always = [
        title_of(row.cause) for row in trial.rows if row.ordinary and row.cause != UNEXPLAINED
    ]
    if always:
        yield Text(
            f"Ordinary wake-ups have it about as often and as long: {'; '.join(always)}", _WARN
        )
    if trial.scene.recorded:
        yield from _unseen(trial.unseen)
        if trial.spikes and not any(name.startswith("qemu:") for name in trial.scene.names):
            yield Text(_NO_QEMU, _ASIDE)
    else:
        yield Text("Without events of the host no cause but a few can be told.", _WARN)
        for hint in trial.hints:
            yield Text(f"From the probe's own counters: {hint}", _ASIDE)
    for note in trial.notes:
        yield Text(note, _WARN)


def _unseen(unseen: Sequence[Unseen]) -> Iterator[Text]:
    """The causes that cannot be seen, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for one in unseen:
        reasons.setdefault(one.why, []).append(one.title)
    for why, titles in reasons.items():
        yield Text(f"Cannot be seen: {'; '.join(titles)} ({why})", _ASIDE)


def _print_next(console: Console, step: Next | None) -> None:
    """The command on a line of its own, however long, so that it can be copied."""
    if step is None:
        return
    console.print()
    console.print(Padding(Text.assemble(("Try this next: ", "bold"), step.text), (0, 1)))
    if step.command:
        console.print(Text(f"   {step.command}", "bold cyan"), soft_wrap=True)


def _steps(one: Attribution) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text("from", _ASIDE), Text("for", _ASIDE), Text("what", _ASIDE))
    for share, piece in _longest(one):
        begin = f"+{format_ns(piece.start - one.window.start)}"
        what = Text.assemble(
            (title_of(share.cause), _ASIDE if share.cause == UNEXPLAINED else "bold"),
            f": {piece.detail}" if piece.detail else "",
        )
        grid.add_row(begin, format_ns(piece.end - piece.start), what)
    return grid


def _longest(one: Attribution) -> list[tuple[Share, Piece]]:
    """The longest pieces, in the order of time; what is the same and touches is one."""
    pieces = _joined(one)
    pieces.sort(key=lambda pair: (pair[1].start - pair[1].end, pair[1].start))
    return sorted(pieces[:_STEPS], key=lambda pair: pair[1].start)


def _joined(one: Attribution) -> list[tuple[Share, Piece]]:
    pieces = [(share, piece) for share in one.shares for piece in share.pieces]
    pieces.sort(key=lambda pair: pair[1].start)
    joined: list[tuple[Share, Piece]] = []
    for share, piece in pieces:
        if joined and joined[-1][0] is share and _touch(joined[-1][1], piece):
            joined[-1] = (share, replace(joined[-1][1], end=piece.end))
        else:
            joined.append((share, piece))
    return joined


def _touch(before: Piece, after: Piece) -> bool:
    return before.end == after.start and before.detail == after.detail


def _sums(one: Attribution) -> Iterator[Text]:
    """The pieces that the steps leave out are in the sums."""
    left = len(_joined(one)) - _STEPS
    if left > 0:
        yield Text(f"{left} shorter steps are left out above, and counted here:", _ASIDE)
    parts = ", ".join(
        f"{title_of(share.cause)} {format_ns(share.ns)}"
        f" ({_percent(share.ns / one.window.latency_ns)})"
        for share in one.shares
    )
    yield Text(f"Together {format_ns(one.window.latency_ns)}: {parts}.")
