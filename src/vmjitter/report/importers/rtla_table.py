"""The table that `rtla timerlat hist` prints, as text: which rows there are, and where.

Header, index and summary can each be switched off, and other programs' output may stand between
the lines (``--on-threshold shell``).  So a line is taken for what it looks like, and what is
neither is noted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from vmjitter.report.importers.reading import MAX_NS, Line, count_of, whole
from vmjitter.report.importers.rtla_text import Analysis, Command, clock_s, command_in, unit_named
from vmjitter.units import NS_PER_US

SUMMARY: Final = ("over", "count", "min", "avg", "max")
MAX_INDEX: Final = MAX_NS // NS_PER_US
"""In the larger unit: a bucket beyond is damage."""

_LONGEST: Final = 1 << 19
"""A row of the largest machine, 8192 CPUs with three columns of ten characters, is half as long."""
_CONTEXT: Final = {"IRQ": "irq", "Thr": "thread", "Usr": "user"}
_COLUMN: Final = re.compile(r"(IRQ|Thr|Usr)-(\d{3,6})")
_SUMMARY_ROW: Final = re.compile(r"(over|count|min|avg|max):(?: +|$)")
_TITLE: Final = re.compile(r"# RTLA (\w+) histogram")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: context "irq", "thread" or "user", and its CPU; unknown without a header."""

    context: str
    cpu: int | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """The cells of one row as text; ``index`` is None if the row has none."""

    line: int
    index: int | None
    cells: tuple[str, ...]


@dataclass(kw_only=True)
class Table:
    """What was found in the file.

    Attributes:
        tool: second word of the title: "timerlat".
        unit_ns: None if no line names it.
        columns: empty without a header.
        rows: of the buckets, and without an index those of the summary, too.
        summary: rows by name; likewise ``total``, those of the ``ALL:`` block.
        total_contexts: columns of the ``ALL:`` block.
        foreign: numbers of lines that are not rtla's.
        damaged: numbers of rows of the wrong length.
        second: line at which another table starts.
    """

    tool: str = ""
    unit_ns: int | None = None
    duration_s: int | None = None
    command: Command | None = None
    columns: tuple[Column, ...] = ()
    rows: list[Row] = field(default_factory=list)
    summary: dict[str, Row] = field(default_factory=dict)
    total: dict[str, Row] = field(default_factory=dict)
    total_rows: list[Row] = field(default_factory=list)
    total_contexts: tuple[str, ...] = ()
    analysis: Analysis = field(default_factory=Analysis)
    foreign: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    cut: int | None = None
    second: int | None = None

    @property
    def indexed(self) -> bool:
        """Rows begin with the lower edge of their bucket."""
        return bool(self.summary) or any(row.index is not None for row in self.rows)


class TableReader:
    """Reads line by line."""

    def __init__(self) -> None:
        self.table = Table()
        self._plain = False  # a header without "Index": rows have no index
        self._numbered: list[Row] = []

    def take(self, line: Line) -> None:
        """Read a line."""
        text = line.text.strip()
        if self.table.second or not text:
            return
        if len(text) > _LONGEST:
            self.table.foreign.append(line.number)
            return
        if text.startswith("#"):
            self._take_comment(line, text)
        elif not (self._take_header(text) or self._take_row(line, text)):
            self._take_other(line)

    def _take_comment(self, line: Line, text: str) -> None:
        table = self.table
        if title := _TITLE.match(text):
            if table.tool or self._numbered or table.summary:
                table.second = line.number
            else:
                table.tool = title[1]
        elif text.startswith("# Time unit"):
            table.unit_ns = unit_named(text) or table.unit_ns
        elif text.startswith("# Duration:"):
            table.duration_s = clock_s(text)
        else:
            self._take_other(line)

    def _take_header(self, text: str) -> bool:
        words = text.split()
        table = self.table
        if words[0] == "ALL:" or (words[0] in _CONTEXT and set(words) <= _CONTEXT.keys()):
            contexts = words[1:] if words[0] == "ALL:" else words
            table.total_contexts = tuple(_CONTEXT.get(word, "") for word in contexts)
            return True
        names = words[1:] if words[0] == "Index" else words
        found = [_COLUMN.fullmatch(name) for name in names[:1]]
        if table.columns or not found or not found[0]:
            return False
        matches = [_COLUMN.fullmatch(name) for name in names]
        columns = [Column(context=_CONTEXT[m[1]], cpu=int(m[2])) for m in matches if m]
        if len(columns) != len(names) or len(set(columns)) != len(columns):
            return False
        table.columns = tuple(columns)
        self._plain = words[0] != "Index"
        return True

    def _take_row(self, line: Line, text: str) -> bool:
        table = self.table
        cells = text.split()
        if not line.ended and cells:  # its last number may have lost digits
            cells[-1] = "?"
            table.cut = line.number
        if match := _SUMMARY_ROW.match(text):
            row = Row(line=line.number, index=None, cells=tuple(cells[1:]))
            into = table.total if table.total_contexts else table.summary
            if match[1] in into:
                table.foreign.append(line.number)
            else:
                into[match[1]] = row
            return True
        if whole(cells[0]) is None or table.analysis.stopped:
            return False
        self._numbered.append(Row(line=line.number, index=None, cells=tuple(cells)))
        if table.total_contexts:
            table.total_rows.append(self._numbered.pop())
        return True

    def _take_other(self, line: Line) -> None:
        table = self.table
        if command := command_in(line.text, "hist"):
            table.command = table.command or command
        elif not table.analysis.take(line.text):
            table.foreign.append(line.number)

    def finish(self) -> Table:
        """What was found."""
        table = self.table
        plain = self._plain or not (table.columns or table.summary)
        width = len(table.columns) or self._guessed_width(0 if plain else 1)
        for row in self._numbered:
            index = None if plain else whole(row.cells[0])
            cells = row.cells if plain else row.cells[1:]
            if len(cells) == width and (plain or (index is not None and 0 <= index <= MAX_INDEX)):
                table.rows.append(Row(line=row.line, index=index, cells=cells))
            elif row.line == table.cut or None not in map(count_of, cells):
                table.damaged.append(row.line)
            else:
                table.foreign.append(row.line)
        table.foreign.sort()
        return table

    def _guessed_width(self, named: int) -> int:
        """Columns of a table without a header: those that its rows of the summary have."""
        for name in SUMMARY:
            if name in self.table.summary:
                return len(self.table.summary[name].cells)
        return len(self._numbered[0].cells) - named if self._numbered else 0
