"""`rtla timerlat top`: count, minimum, average and maximum per CPU and context, in text.

It is printed again and again while it measures; what counts is the last row of each CPU.  There is
no histogram: between the smallest and the largest nothing is known.
Source: Linux, tools/tracing/rtla/src/timerlat_top.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Series, refuse
from vmjitter.report.importers.reading import (
    DAMAGED,
    Counted,
    Line,
    count_of,
    extremes_only,
    lines,
    some_lines,
    text_head,
    whole,
)
from vmjitter.report.importers.rtla_table import MAX_INDEX
from vmjitter.report.importers.rtla_text import (
    CONTEXTS,
    SKIPPED,
    Analysis,
    Command,
    clock_s,
    command_in,
    unit_named,
)
from vmjitter.units import NS_PER_US, format_ns

_LONGEST: Final = 1000
_MAX_CPUS: Final = 1 << 13
_HEADER: Final = re.compile(r"^.{0,40}\| +IRQ Timer Latency \((us|ns)\)", re.MULTILINE)
_ROW: Final = re.compile(r" *(\d{1,5}) +#(\d{1,16}) *\|(.+)")
_GROUPS: Final = {"IRQ": "irq", "Thread": "thread", "Ret user": "user"}
_TITLE: Final = re.compile(r"(IRQ|Thread|Ret user) Timer Latency \(")
_FRAME: Final = re.compile(r" *(?:Timer Latency *|CPU COUNT .*|ALL #.*|-{5,}\|[-|]*)")


def matches(head: bytes, _name: str) -> bool:
    """Whether a file has the head of such a table."""
    return bool(_HEADER.search(text_head(head)))


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The last row of a CPU; of each context ``cur min avg max``, None where there is none."""

    line: int
    count: int
    cells: tuple[tuple[str, ...] | None, ...]


@dataclass(kw_only=True)
class _Table:
    unit_ns: int = 0
    contexts: tuple[str, ...] = ()
    rows: dict[int, _Row] = field(default_factory=dict)
    duration_s: int | None = None
    command: Command | None = None
    analysis: Analysis = field(default_factory=Analysis)
    foreign: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    second: int | None = None

    def take(self, line: Line) -> None:
        """Read a line."""
        text = line.text.rstrip()
        if self.second or not text.strip():
            return
        if len(text) > _LONGEST:
            self.foreign.append(line.number)
        elif _HEADER.match(text):
            self._take_header(line, text)
        elif match := _ROW.fullmatch(text):
            self._take_row(line, match)
        else:
            self._take_other(line, text)

    def _take_header(self, line: Line, text: str) -> None:
        unit_ns = unit_named(text) or 0
        contexts = tuple(_GROUPS[name] for name in _TITLE.findall(text))
        if self.rows and (unit_ns, contexts) != (self.unit_ns, self.contexts):
            self.second = line.number
            return
        self.unit_ns, self.contexts = unit_ns, contexts
        self.duration_s = clock_s(text.partition("|")[0]) or self.duration_s

    def _take_row(self, line: Line, match: re.Match[str]) -> None:
        cpu, count = int(match[1]), count_of(match[2])
        groups = [tuple(group.split()) for group in match[3].split("|")]
        if not line.ended:  # its last number may have lost digits
            groups[-1] = ()
        if count is None or len(groups) > len(self.contexts) or len(self.rows) > _MAX_CPUS:
            self.damaged.append(line.number)
            return
        before = self.rows.get(cpu)
        if before and count < before.count:
            self.second = line.number
            return
        cells = tuple(group if _is_sound(group) else None for group in groups)
        if len(cells) < len(self.contexts) or None in cells:
            self.damaged.append(line.number)
            if before:
                return
        self.rows[cpu] = _Row(line=line.number, count=count, cells=cells)

    def _take_other(self, line: Line, text: str) -> None:
        if command := command_in(text, "top"):
            self.command = self.command or command
            return
        is_frame = _FRAME.fullmatch(text) is not None
        # some versions leave out the line end between the table and what follows
        if not self.analysis.take(text.rpartition("|")[2]) and not is_frame:
            self.foreign.append(line.number)


def _is_sound(group: tuple[str, ...]) -> bool:
    """``cur min avg max``, each a number, or "-" for none."""
    values = [None if cell == "-" else whole(cell) for cell in group]
    known = [value for value in values if value is not None]
    return (
        len(group) == 4
        and len(known) in {0, 4}
        and len(known) + group.count("-") == 4
        and all(0 <= value <= MAX_INDEX for value in known)
    )


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: no table is in it, or none of its rows is whole.
    """
    table = _Table()
    for line in lines(content):
        table.take(line)
    if not table.unit_ns or not table.contexts:
        raise refuse(place, None, "it has no table of rtla timerlat top", DAMAGED)
    series = tuple(
        _series(place, table, cpu, number)
        for cpu, row in sorted(table.rows.items())
        for number in range(len(table.contexts))
        if number < len(row.cells) and row.cells[number] is not None
    )
    if not series:
        raise refuse(place, None, "no row of its table is whole", DAMAGED)
    return Imported(
        tool="rtla timerlat top",
        series=series,
        command=table.command.text if table.command else "",
        facts=dict(table.analysis.facts),
        notes=_notes(table),
    )


def _series(place: str, table: _Table, cpu: int, number: int) -> Series:
    row, context = table.rows[cpu], table.contexts[number]
    cells = row.cells[number] or ()
    low, average, high = (whole(cell) for cell in cells[1:4])
    counted = Counted()
    if row.count and low is not None and high is not None:
        if low > high:
            why = f"CPU {cpu}: its minimum {low} is above its maximum {high}"
            raise refuse(place, row.line, why, DAMAGED)
        counted = _counted(row.count, low * table.unit_ns, high * table.unit_ns, table.unit_ns)
        _raise_max(counted, table, cpu, context)
    lacks = {Lack.ORDER, Lack.OVERRUNS} | ({Lack.PERIOD} if not table.command else set())
    unit = "us" if table.unit_ns == NS_PER_US else "ns"
    facts = {"cpu": str(cpu), "context": CONTEXTS[context], "count": str(row.count)}
    if average is not None:
        facts[f"avg_{unit}"] = str(average)
    return Series(
        name=f"cpu-{cpu}-{context}",
        title=f"CPU {cpu}, {CONTEXTS[context]}",
        period_ns=table.command.period_ns if table.command else 0,
        histogram=counted.build(place),
        facts=facts,
        lacks=frozenset(lacks),
        notes=tuple(counted.notes),
    )


def _counted(count: int, min_ns: int, max_ns: int, unit_ns: int) -> Counted:
    """The extremes; a count of one below two different extremes has lost the others."""
    counted = extremes_only(count, min_ns, max_ns, unit_ns)
    if count == 1 and min_ns != max_ns:
        counted.notes.append("it counts one wake-up, but two different extremes: two are taken")
    return counted


def _raise_max(counted: Counted, table: _Table, cpu: int, context: str) -> None:
    high = counted.max_ns or 0
    later = table.analysis.later_than(cpu, context, high, table.unit_ns)
    if later is None or not counted.overflow:
        return
    counted.max_ns = later
    counted.notes.append(
        f"rtla stopped at {format_ns(later)}, its table goes up to {format_ns(high)}: the maximum "
        "is the former"
    )


def _notes(table: _Table) -> tuple[str, ...]:
    notes = [
        "only count, minimum, average and maximum are in it: no share of late wake-ups can be told",
        "it counts timer interrupts: the thread may have woken up once less often",
        *table.analysis.notes(),
    ]
    if table.foreign:
        notes.append(f"{some_lines(table.foreign)} not of rtla: left out")
    if table.damaged:
        notes.append(f"{some_lines(table.damaged)} not whole: left out as far as they are damaged")
    if table.second:
        notes.append(
            f"another measurement starts at line {table.second}: it is left out, give it as its "
            "own file"
        )
    return (*notes, SKIPPED)


IMPORTER: Final = Importer(
    name="rtla-top",
    what="rtla timerlat top: text; extremes per CPU and context",
    matches=matches,
    read=read,
)
