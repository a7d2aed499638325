"""Two groups of trials in the terminal: a sentence, a table, and what is needed to trust them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vmjitter.report.comparable import Compared, Member
from vmjitter.report.comparable import Group as Trials
from vmjitter.stats.comparison import MIN_TRIALS, Change, Comparison, Metric, Row
from vmjitter.stats.permutation import Shift
from vmjitter.stats.survival import Curves
from vmjitter.units import format_ns

VERDICTS: Final = {
    Change.BETTER: "BETTER",
    Change.WORSE: "WORSE",
    Change.NOT_SHOWN: "NO DIFFERENCE SHOWN",
    Change.TOO_FEW: "INCONCLUSIVE",
}
"""The word that the sentence begins with."""

_STYLES: Final = {
    Change.BETTER: "bold green",
    Change.WORSE: "bold red",
    Change.NOT_SHOWN: "bold",
    Change.TOO_FEW: "bold yellow",
    Change.NOT_TESTED: "dim",
}
_CELLS: Final = {
    Change.BETTER: "better",
    Change.WORSE: "worse",
    Change.NOT_SHOWN: "",
    Change.NOT_TESTED: "",
}
_LABELS: Final = {Metric.MISSES: "misses/h", Metric.EPISODES: "episodes/h"}
_ASIDE: Final = "dim"
_WARN: Final = "yellow"
_NONE: Final = "\N{EN DASH}"
_NAMED_FIRST: Final = (Metric.MAX, Metric.P999, Metric.P99, Metric.MISSES)
_IN_WORDS: Final = {
    Metric.MAX: "the worst latency",
    Metric.MISSES: "the number of misses per hour",
    Metric.EPISODES: "the number of miss episodes per hour",
}


# -- the sentence --------------------------------------------------------------------------------


def sentence(compared: Compared) -> str:
    """The result in a sentence or two that need no knowledge of statistics."""
    comparison = compared.comparison
    match compared.change:
        case Change.TOO_FEW:
            rest = _inconclusive(compared)
        case Change.NOT_SHOWN:
            rest = _not_shown(compared)
        case change:
            rest = _shown(compared, comparison.changed(change), change)
    return f"{VERDICTS[compared.change]}: {rest}"


def _inconclusive(compared: Compared) -> str:
    comparison = compared.comparison
    counts = _counts(compared)
    if not comparison.too_few:
        return f"no figure that decides is known of all trials ({counts})."
    needed = max(comparison.trials_needed, MIN_TRIALS)
    return (
        f"{counts} cannot show a difference, however large it is; {needed} + {needed} can, "
        "measured in turn, e.g. vmjitter run PLAN --compare A,B "
        f"--rounds {needed}."
    )


def _not_shown(compared: Compared) -> str:
    comparison = compared.comparison
    row = next(row for metric in _order(comparison) if (row := comparison.row(metric)))
    return (
        f"{_counts(compared)} do not show that {compared.after.label} differs from "
        f"{compared.before.label} at {comparison.confidence_percent:g} % confidence. That is no "
        f"proof that they are equal: {_named(row.metric)} may have changed by "
        f"{_interval(row.difference, row.metric)}."
    )


def _shown(compared: Compared, metrics: Sequence[Metric], change: Change) -> str:
    comparison = compared.comparison
    metric = next(metric for metric in _order(comparison) if metric in metrics)
    row = comparison.row(metric)
    assert row is not None  # it is one of those that changed
    early, late = (_value(median(values), metric) for values in (row.before, row.after))
    text = (
        f"with {compared.after.label}, {_named(metric)} of a trial is {_factor(row)} "
        f"than with {compared.before.label}: {late} instead of {early} (medians of "
        f"{len(row.after)} and {len(row.before)} trials), at "
        f"{comparison.confidence_percent:g} % confidence."
    )
    if others := [_named(each) for each in metrics if each is not metric]:
        text += f" {change.value.capitalize()}, too: {_listed(others)}."
    contrary = Change.BETTER if change is Change.WORSE else Change.WORSE
    if against := [_named(each) for each in comparison.changed(contrary)]:
        text += f" But {contrary.value}: {_listed(against)}."
    return text


def _factor(row: Row) -> str:
    """How many times, or by how much where a value is zero."""
    longer = row.change is Change.WORSE
    word = ("longer" if longer else "shorter") if row.metric.is_time else "larger"
    word = "smaller" if not row.metric.is_time and not longer else word
    if row.ratio is None or row.difference is None:
        by = abs(row.difference.estimate) if row.difference else 0.0
        return f"{_value(by, row.metric)} {word}"
    ratio = row.ratio
    ends = (ratio.estimate, ratio.low, ratio.high)
    times = [None if end is None else end if longer else 1 / end for end in ends]
    low, high = sorted(end for end in times[1:] if end is not None) or (None, None)
    sure = f" ({low:.3g} to {high:.3g})" if low is not None else ""
    return f"{times[0]:.3g} times{sure} {word}"


def _order(comparison: Comparison) -> list[Metric]:
    """The figures that decide, the one to speak of first."""
    known = [row.metric for row in comparison.decisive]
    return sorted(known, key=(comparison.primary, *_NAMED_FIRST, *Metric).index)


def _named(metric: Metric) -> str:
    return _IN_WORDS.get(metric, metric.value)


def _listed(words: Sequence[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]


def _counts(compared: Compared) -> str:
    before, after = compared.before.members, compared.after.members
    return f"{len(before)} + {len(after)} trials"


# -- the terminal --------------------------------------------------------------------------------


def print_comparison(console: Console, compared: Compared, *, details: bool = False) -> None:
    """Print a comparison.

    Args:
        console: where to.
        compared: the two groups.
        details: also each trial's figures.
    """
    console.print(render(compared, details=details))


def render(compared: Compared, *, details: bool = False) -> RenderableType:
    """Lay a comparison out: sentence, table, curves, conditions, trials."""
    word, _, rest = sentence(compared).partition(":")
    head = Text.assemble((word, _STYLES[compared.change]), f":{rest}")
    parts: list[RenderableType] = [
        Padding(head, (1, 1)),
        Padding(_table(compared), (0, 0, 1, 1)),
        *(Padding(text, (0, 1)) for text in _remarks(compared)),
        Text(),
        Padding(_facts(compared), (0, 1)),
    ]
    if details:
        parts += [Text(), Padding(_trials(compared), (0, 1))]
    return Group(*parts)


def _table(compared: Compared) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("", no_wrap=True)
    for label in ("A", "B", "B - A", "interval", "p"):
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in compared.comparison.rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> Iterator[Text]:
    yield Text(
        _LABELS.get(row.metric, row.metric.value), "bold" if row.adjusted is not None else ""
    )
    if row.lacking or row.difference is None:
        yield from (Text(_NONE, _ASIDE) for _ in range(5))
        yield Text()
        return
    yield Text(_value(median(row.before), row.metric))
    yield Text(_value(median(row.after), row.metric))
    yield Text(_signed(row.difference.estimate, row.metric), "bold")
    yield Text(_interval(row.difference, row.metric), _ASIDE)
    yield Text(_NONE if row.adjusted is None else f"{row.adjusted:.3g}", _ASIDE)
    yield Text(_CELLS[row.change], _STYLES[row.change])


def _remarks(compared: Compared) -> Iterator[Text]:
    comparison = compared.comparison
    yield Text(_legend(compared), _ASIDE)
    for row in comparison.rows:
        if row.lacking:
            yield Text(f"No {row.metric.value}: {row.lacking}.", _ASIDE)
    if missed := missed_sentence(comparison):
        yield Text(missed, _WARN)
    for text in curve_sentences(compared):
        yield Text(text)
    if comparison.counts is not None:
        yield Text(_count_sentence(comparison))
    for difference in compared.allowed:
        yield Text(f"Compared in spite of another condition: {difference.text}.", _WARN)
    if compared.conditions.unknown:
        told = ", ".join(compared.conditions.unknown)
        yield Text(f"Not told, so taken to be the same: {told}.", _WARN)
    for word in compared.words:
        yield Text(f"{word[:1].upper()}{word[1:]}.", _WARN)


def _legend(compared: Compared) -> str:
    comparison = compared.comparison
    tested = "p: two-sided, exact over all ways to deal the trials"
    within = f", within {comparison.blocks} blocks" if comparison.blocks > 1 else ""
    level = f"{comparison.significance:.4g}"
    return (
        f"A, B: medians of the trials. {tested}{within}; a change is shown if it is at most "
        f"{level}. {comparison.primary.value} was to decide first; the p of the other tested "
        f"figures (bold) are adjusted for each other. Interval of B - A: "
        f"{comparison.confidence_percent:g} %, each by itself."
    )


def missed_sentence(comparison: Comparison) -> str:
    """How many activations have no latency at all, or empty if none was missed."""
    sides = []
    for label, group in (("A", comparison.before), ("B", comparison.after)):
        missed = sum(figures.overruns for figures in group)
        planned = missed + sum(figures.wake_ups for figures in group)
        sides.append((label, missed, planned))
    if not any(missed for _, missed, _ in sides):
        return ""
    told = ", ".join(f"{label} {missed} of {planned}" for label, missed, planned in sides)
    return f"Missed activations, which have no latency and are in no quantile: {told}."


def curve_sentences(compared: Compared) -> list[str]:
    """Where the curve of one group is below that of the other, in words."""
    found = compared.comparison.curves
    return [] if found is None else [*_dominance(compared, found), *_crossings(compared, found)]


def _dominance(compared: Compared, found: Curves) -> Iterator[str]:
    dominance = found.dominance
    if dominance is None:
        return
    lower, upper = compared.after.label, compared.before.label
    if not dominance.after:
        lower, upper = upper, lower
    where = "At every latency"
    if dominance.above_ns is not None:
        where = f"Above {format_ns(dominance.above_ns)}"
    until = (
        f", as far as both are known ({format_ns(dominance.until_ns)}),"
        if dominance.until_ns
        else ""
    )
    yield f"{where}{until} {lower} has fewer wake-ups that late than {upper}, in these trials."
    if dominance.every_trial_above_ns is not None and compared.change is not Change.TOO_FEW:
        yield (
            f"Above {format_ns(dominance.every_trial_above_ns)} that is so even for the worst "
            f"trial of {lower} beside the best of {upper}."
        )


def _crossings(compared: Compared, found: Curves) -> Iterator[str]:
    for crossing in found.crossings:
        fewer, more = ("fewer", "more") if crossing.after_lower else ("more", "fewer")
        yield (
            f"The curves cross between {format_ns(crossing.from_ns)} and "
            f"{format_ns(crossing.to_ns)}: up to there {compared.after.label} has {more} wake-ups "
            f"that late, from there on {fewer}."
        )


def _count_sentence(comparison: Comparison) -> str:
    counts = comparison.counts
    assert counts is not None  # the caller's condition
    text = (
        f"{counts.what.value.capitalize()} in all: {counts.before} in {counts.hours_before:.3g} h "
        f"(A), {counts.after} in {counts.hours_after:.3g} h (B)"
    )
    if counts.clustered:
        return f"{text}; trials differ by more than chance, so no test over all of them."
    return f"{text}; as independent events p = {counts.p_value:.3g}, beside the test over trials."


def _facts(compared: Compared) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style=_ASIDE)
    grid.add_column(overflow="fold")
    for label, group in (("A", compared.before), ("B", compared.after)):
        grid.add_row(label, Text(f"{group.label}, {_count(len(group.members))}"))
        for member in group.excluded:
            grid.add_row("", Text(f"left out: {_excluded(member)}", _WARN))
    grid.add_row("order", Text(compared.order))
    for difference in compared.conditions.compared:
        grid.add_row("compared", Text(difference.text))
    if not compared.conditions.compared:
        grid.add_row("compared", Text("no setting differs", _ASIDE))
    for note in compared.notes:
        grid.add_row("note", Text(note, _WARN))
    return grid


def _count(trials: int) -> str:
    return "1 trial" if trials == 1 else f"{trials} trials"


def _excluded(member: Member) -> str:
    trial = member.trial
    reasons = trial.reasons or (trial.incomplete_text,)
    return f"{trial.name}: {'; '.join(reasons)}"


def _trials(compared: Compared) -> Table:
    """Every trial with the figures that decide, in the order of the groups."""
    metrics = [row.metric for row in compared.comparison.decisive]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("trial", overflow="fold")
    for title in ("wake-ups", "missed", *(_LABELS.get(each, each.value) for each in metrics)):
        table.add_column(title, justify="right", no_wrap=True)
    for side, group, figures in (
        ("A", compared.before, compared.comparison.before),
        ("B", compared.after, compared.comparison.after),
    ):
        for member, one in zip(group.members, figures, strict=True):
            cells = (_optional(one.value(metric), metric) for metric in metrics)
            name = f"{side} {trial_name(member, group)}"
            table.add_row(name, str(one.wake_ups), str(one.overruns), *cells)
    return table


def trial_name(member: Member, group: Trials) -> str:
    """Name of a trial within its group: with its run if the group has several."""
    runs = {each.run.path for each in (*group.members, *group.excluded)}
    return f"{member.run.path.name} {member.trial.name}" if len(runs) > 1 else member.trial.name


# -- figures in words ----------------------------------------------------------------------------


def _value(value: float, metric: Metric) -> str:
    return format_ns(round(value)) if metric.is_time else _rate(value)


def _rate(value: float) -> str:
    """A number per hour with three or four digits."""
    if abs(value) < 1000:
        return f"{value:.3g}"
    scaled, letter = (value / 1e6, "M") if abs(value) >= 1e6 else (value / 1e3, "k")
    return f"{value:.0f}" if abs(value) < 1e4 else f"{scaled:.4g}{letter}"


def _optional(value: float | None, metric: Metric) -> str:
    return _NONE if value is None else _value(value, metric)


def _signed(value: float, metric: Metric) -> str:
    return ("+" if value > 0 else "") + _value(value, metric)


def _interval(shift: Shift | None, metric: Metric) -> str:
    if shift is None or shift.low is None or shift.high is None:
        return "any amount" if shift is None else "none"
    low, high = (_signed(end, metric) for end in (shift.low, shift.high))
    number, _, unit = low.partition(" ")
    return f"{number if unit and high.endswith(f' {unit}') else low} to {high}"
