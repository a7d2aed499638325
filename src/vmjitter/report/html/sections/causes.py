"""What the late wake-ups waited for; only for a run that was traced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vmjitter.report.explain import Options, Timeline, explain_run, explain_section
from vmjitter.report.explain import Section as Explained
from vmjitter.report.explain_split import SplitRow, split
from vmjitter.report.html.blocks import (
    NONE,
    Block,
    Code,
    Figure,
    Row,
    Section,
    Table,
    Tone,
    number,
    paragraphs,
    row,
    table,
    text,
)
from vmjitter.report.html.charts.split import split_chart
from vmjitter.report.html.charts.timeline import timeline_chart
from vmjitter.report.html.view import PageView
from vmjitter.store.reader import is_run
from vmjitter.trace.lift import CauseRow
from vmjitter.units import format_ns

_WORST = 3


def section(view: PageView) -> Section | None:
    """Per trial a table of causes and the worst wake-ups on a timeline."""
    run = view.result.run
    if not is_run(run.path) or not any((trial.path / "trace").is_dir() for trial in run.trials):
        return None
    explanation = explain_run(run, Options())
    traced = replace(explanation, trials=tuple(one for one in explanation.trials if one.traced))
    explained = explain_section(traced, worst=_WORST)
    if not explained:
        return None
    blocks = [block for one in explained for block in _trial(one)]
    return Section(
        anchor="causes",
        title="What late wake-ups waited for",
        blocks=(*_split(split(traced)), *blocks),
    )


def _split(rows: Sequence[SplitRow]) -> list[Block]:
    """The scenarios beside each other, if there are several."""
    if len(rows) < 2:
        return []
    return [
        Figure(
            title="Where the time of late wake-ups went",
            svg=split_chart(rows),
            caption="Emulation: QEMU worked on the virtual CPU's thread. QEMU lock, QEMU threads "
            "and host are contention: somebody else had what the virtual CPU needed. What is late "
            "is judged for each scenario by itself.",
        )
    ]


def _trial(one: Explained) -> list[Block]:
    blocks: list[Block] = [
        paragraphs(*(f"{line}." if line[-1:] != "." else line for line in one.head))
    ]
    blocks += [_table(one), *(_figure(timeline, one) for timeline in one.timelines)]
    if one.next:
        blocks.append(Code(title="Try this next", text=one.next))
    return blocks


def _table(one: Explained) -> Table:
    return table(
        f"Causes in {one.scenario}: each late wake-up's time is split without overlap",
        ("cause", "of late wake-ups", "of their time", "worst", "lift", "for example"),
        [_row(each, one) for each in one.rows],
    )


def _row(each: CauseRow, one: Explained) -> Row:
    return row(
        text(one.titles[each.cause]),
        number(f"{100 * each.share:.1f} %"),
        number(f"{100 * each.time_share:.1f} %", Tone.STRONG),
        number(format_ns(each.worst_ns)),
        number(NONE if each.lift is None else f"{each.lift:.1f}"),
        text(each.example, Tone.ASIDE),
    )


def _figure(timeline: Timeline, one: Explained) -> Figure:
    together = "; ".join(
        f"{one.titles.get(cause, cause)} {format_ns(ns)}" for cause, ns in timeline.causes
    )
    return Figure(
        title=f"{one.scenario}, {timeline.title}",
        svg=timeline_chart(timeline),
        caption=f"Together: {together}.",
    )
