"""`rtla timerlat hist`: a histogram per CPU and context, in text.

The three contexts of a CPU are not three measurements of one thing: the time is taken when the
timer interrupt runs, when the thread runs, and when it is back in user space.  So each is a series
of its own.  An index is the lower edge of a bucket.  Beyond the last bucket only the row ``over:``
counts; ``max:`` says how late the latest was.
Source: Linux, tools/tracing/rtla/src/timerlat_hist.c.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import Final

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Series, refuse
from vmjitter.report.importers.reading import (
    DAMAGED,
    UNSET,
    Counted,
    count_of,
    extremes_only,
    lines,
    some_lines,
    text_head,
    whole,
)
from vmjitter.report.importers.rtla_table import MAX_INDEX, SUMMARY, Column, Row, Table, TableReader
from vmjitter.report.importers.rtla_text import CONTEXTS, SKIPPED
from vmjitter.units import NS_PER_S, NS_PER_US, format_ns

_TITLE: Final = re.compile(r"^# RTLA timerlat histogram", re.MULTILINE)
_HEADER: Final = re.compile(r"^(Index)? *(IRQ|Thr|Usr)-\d{3}\b", re.MULTILINE)
_OVER: Final = re.compile(r"^over:( +(\d+|-))+ *$", re.MULTILINE)
_UNIT_HINT: Final = (
    "write the line `# Time unit is microseconds (us)` or `# Time unit is nanoseconds (ns)` "
    "before it, or measure without --no-header"
)
_PLAUSIBLE_NS: Final = 100
"""No CPU gets from the timer to the interrupt's code in less: so a smaller number is in us."""


def matches(head: bytes, _name: str) -> bool:
    """Whether a file has the title, the column heads or the row ``over:`` of such a table."""
    text = text_head(head)
    return any(pattern.search(text) for pattern in (_TITLE, _HEADER, _OVER))


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: no table is in it, or nothing in it tells the unit.
    """
    reader = TableReader()
    for line in lines(content):
        reader.take(line)
    table = reader.finish()
    if table.tool not in {"", "timerlat"}:
        raise refuse(place, 1, f"this is of rtla {table.tool}", "only timerlat measures latencies")
    if not table.rows and not table.summary:
        raise refuse(place, None, "it has no table of rtla timerlat hist", DAMAGED)
    if not table.indexed:
        _name_rows(table, place)
    scale = _scale(table, place)
    columns = _columns(table)
    if not columns:
        raise refuse(place, None, "its rows have no columns", DAMAGED)
    series = tuple(
        _series(place, table, scale, number, column) for number, column in enumerate(columns)
    )
    return Imported(
        tool="rtla timerlat hist",
        series=series,
        command=table.command.text if table.command else "",
        facts=dict(table.analysis.facts),
        notes=_notes(table, scale, series),
    )


def _name_rows(table: Table, place: str) -> None:
    """Give rows without an index their names: buckets from 0 on, then the summary.

    That the last five rows are the summary is proven by its count: buckets and overflow make it.
    """
    body, tail = table.rows[:-5], table.rows[-5:]
    if len(tail) < 5 or not _adds_up(body, tail[0], tail[1]):
        raise refuse(
            place,
            None,
            "its rows have neither index nor names, and none of them is the sum of the others",
            "measure without --no-index",
        )
    bucket = table.command.bucket if table.command else 1
    table.rows = [
        Row(line=row.line, index=number * bucket, cells=row.cells)
        for number, row in enumerate(body)
    ]
    table.summary = dict(zip(SUMMARY, tail, strict=True))
    table.total = dict(zip(SUMMARY[1:], table.total_rows, strict=False))
    if not all(_starts_where(table, number, bucket) for number in range(len(tail[0].cells))):
        raise refuse(
            place,
            None,
            f"its buckets are not {bucket} wide, and nothing in it says how wide",
            "write the command line before it, e.g. `# rtla timerlat hist -b 5`",
        )


def _adds_up(body: list[Row], over: Row, count: Row) -> bool:
    for number, stated in enumerate(count.cells):
        parts = [count_of(row.cells[number]) for row in (*body, over)]
        if None in parts or sum(part or 0 for part in parts) != count_of(stated):
            return False
    return True


def _starts_where(table: Table, number: int, bucket: int) -> bool:
    """Whether the first bucket that is not empty is the one of the smallest latency."""
    low = whole(table.summary["min"].cells[number])
    for row in table.rows:
        if row.index is not None and count_of(row.cells[number]):
            return low is not None and row.index <= low < row.index + bucket
    return True


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """What the numbers mean.

    Attributes:
        unit_ns: of indices and of the summary.
        bucket: width of a bucket, in units.
        over_from: overflow is at this or more, in units.
        notes: how that is known, where the file does not say it.
    """

    unit_ns: int
    bucket: int
    over_from: int
    notes: tuple[str, ...]


def _scale(table: Table, place: str) -> _Scale:
    unit_ns, notes = _unit(table, place)
    indices = [row.index for row in table.rows if row.index is not None]
    last = max(indices, default=-1)
    if table.command:
        bucket = table.command.bucket
        over_from = min(max(last + 1, table.command.entries * bucket), MAX_INDEX)
        return _Scale(unit_ns=unit_ns, bucket=bucket, over_from=over_from, notes=notes)
    steps = [after - before for before, after in itertools.pairwise(indices)]
    bucket = math.gcd(*indices) if steps else 1
    if not steps:
        notes += ("the width of a bucket is not in the file: rtla's default of 1 is taken",)
    # Rare buckets may all be even by chance; then the overflow could start below last + bucket.
    sure = steps.count(bucket) > 1
    return _Scale(
        unit_ns=unit_ns,
        bucket=bucket or 1,
        over_from=last + (bucket if sure else 1),
        notes=notes,
    )


def _unit(table: Table, place: str) -> tuple[int, tuple[str, ...]]:
    if table.unit_ns:
        return table.unit_ns, ()
    if table.command:
        return (1 if table.command.nano else NS_PER_US), ()
    smallest = table.summary["min"].cells if "min" in table.summary else ()
    if any(0 <= value < _PLAUSIBLE_NS for cell in smallest if (value := whole(cell)) is not None):
        note = (
            "no line names the unit; as a minimum below 100 cannot be nanoseconds, "
            "it is microseconds"
        )
        return NS_PER_US, (note,)
    raise refuse(place, None, "no line names the unit of its numbers", _UNIT_HINT)


def _columns(table: Table) -> tuple[Column, ...]:
    if table.columns:
        return table.columns
    row = table.rows[0] if table.rows else next(iter(table.summary.values()))
    contexts = table.total_contexts or ("",)
    whole_cpus = len(row.cells) % len(contexts) == 0
    return tuple(
        Column(context=contexts[number % len(contexts)] if whole_cpus else "", cpu=None)
        for number in range(len(row.cells))
    )


@dataclass(kw_only=True)
class _Cells:
    """The numbers of one column; ``None`` in the summary where there is none or it is damaged."""

    table: Table
    number: int

    def buckets(self) -> tuple[list[tuple[int, int]], list[int]]:
        """``(index, count)`` in ascending order, and the lines that could not be used."""
        found: list[tuple[int, int]] = []
        bad: list[int] = []
        last = -1
        for row in self.table.rows:
            index = row.index if row.index is not None else -1
            count = count_of(row.cells[self.number])
            if index <= last or index > MAX_INDEX or count is None:
                bad.append(row.line)
                continue
            last = index
            if count:
                found.append((index, count))
        return found, bad

    def summary(self, name: str) -> int | None:
        """A number of the summary."""
        row = self.table.summary.get(name)
        if row is None or self.number >= len(row.cells):
            return None
        cell = row.cells[self.number]
        value = whole(cell)
        if name in {"over", "count"}:
            return count_of(cell)
        return value if value is not None and 0 <= value <= MAX_INDEX else None


def _series(place: str, table: Table, scale: _Scale, number: int, column: Column) -> Series:
    cells = _Cells(table=table, number=number)
    lacks = {Lack.ORDER, Lack.OVERRUNS}
    if not table.command:
        lacks.add(Lack.PERIOD)
    counted = _counted(cells, scale)
    if cells.summary("over") is None and cells.summary("count") is None:
        lacks.add(Lack.OVERFLOW)
    elif counted.max_ns is None and counted.bins and not counted.overflow:
        counted.max_ns = counted.bins[-1][0]
    _add_stopped(counted, table, column, scale.unit_ns)
    counted = _without_bins(counted, scale.unit_ns)
    histogram = counted.build(place)
    if histogram.max_ns is None and (histogram.total or Lack.OVERFLOW in lacks):
        lacks.add(Lack.EXTREMES)
    return Series(
        name=_name(number, column),
        title=_title(number, column),
        period_ns=table.command.period_ns if table.command else 0,
        histogram=histogram,
        facts=_facts(cells, column, scale.unit_ns),
        lacks=frozenset(lacks),
        notes=tuple(counted.notes),
    )


def _counted(cells: _Cells, scale: _Scale) -> Counted:
    """Buckets, overflow and extremes, as far as the file has them."""
    buckets, bad = cells.buckets()
    unit_ns = scale.unit_ns
    counted = Counted(
        bins=[
            (index * unit_ns, (index + scale.bucket) * unit_ns - 1, found)
            for index, found in buckets
        ],
        overflow=cells.summary("over") or 0,
        overflow_from_ns=scale.over_from * unit_ns,
    )
    if bad:
        counted.notes.append(f"{some_lines(bad)} cannot be read: not used")
    _add_missing(counted, cells.summary("count"))
    _add_extremes(counted, cells, unit_ns)
    return counted


def _add_missing(counted: Counted, count: int | None) -> None:
    """Wake-ups that are counted, but in no row: they may have been as late as the latest."""
    if count is None:
        return
    missing = count - sum(entry[2] for entry in counted.bins) - counted.overflow
    if missing < 0:
        counted.notes.append(f"its rows hold {-missing} wake-ups more than its count says")
    elif missing:
        counted.notes.append(
            f"{missing} of {count} wake-ups are in no row: rows are lost, and each of these "
            "wake-ups may be as late as the latest"
        )
        counted.overflow += missing
        counted.overflow_from_ns = 0


def _add_extremes(counted: Counted, cells: _Cells, unit_ns: int) -> None:
    low, high = cells.summary("min"), cells.summary("max")
    if low is not None and high is not None and low > high:
        counted.notes.append(f"its minimum {low} is above its maximum {high}: neither is used")
        low = high = None
    counted.min_ns = low * unit_ns if low is not None else None
    counted.max_ns = high * unit_ns if high is not None else None
    if counted.bins and counted.min_ns is None and counted.overflow_from_ns != 0:
        counted.min_ns = counted.bins[0][0]


def _add_stopped(counted: Counted, table: Table, column: Column, unit_ns: int) -> None:
    """The wake-up at which rtla stopped, if the table does not have it yet."""
    if counted.max_ns is None:
        return
    later = table.analysis.later_than(column.cpu, column.context, counted.max_ns, unit_ns)
    if later is None:
        return
    counted.notes.append(
        f"rtla stopped at {format_ns(later)}, its table goes up to {format_ns(counted.max_ns)}: "
        "this wake-up is added"
    )
    if not counted.overflow:
        counted.overflow_from_ns = later
    counted.overflow_from_ns = min(counted.overflow_from_ns, later)
    counted.overflow += 1
    counted.max_ns = later


def _without_bins(counted: Counted, unit_ns: int) -> Counted:
    """If all are overflow, then the smallest is still known, and how finely it was measured."""
    low, high = counted.min_ns, counted.max_ns
    if counted.bins or counted.overflow < 2 or low is None or high is None or low > high:
        return counted
    found = extremes_only(counted.overflow, low, high, unit_ns)
    found.notes = counted.notes
    return found


def _name(number: int, column: Column) -> str:
    if column.cpu is None:
        return f"column-{number}" + (f"-{column.context}" if column.context else "")
    return f"cpu-{column.cpu}-{column.context}"


def _title(number: int, column: Column) -> str:
    where = f"CPU {column.cpu}" if column.cpu is not None else f"column {number + 1}, CPU unknown"
    return f"{where}, {CONTEXTS.get(column.context, 'context unknown')}"


def _facts(cells: _Cells, column: Column, unit_ns: int) -> dict[str, str]:
    facts = {}
    if column.cpu is not None:
        facts["cpu"] = str(column.cpu)
    if column.context:
        facts["context"] = CONTEXTS[column.context]
    unit = "us" if unit_ns == NS_PER_US else "ns"
    for name, key in (("count", "count"), ("avg", f"avg_{unit}")):
        value = cells.summary(name)
        if value is not None and value != UNSET:
            facts[key] = str(value)
    return facts


def _notes(table: Table, scale: _Scale, series: tuple[Series, ...]) -> tuple[str, ...]:
    notes = [*scale.notes, *table.analysis.notes(), *_total_notes(table, series)]
    if not table.columns:
        notes.append("its header was left out: which CPU a column is of is not in the file")
    if table.foreign:
        notes.append(f"{some_lines(table.foreign)} not of rtla: left out")
    if table.damaged:
        notes.append(f"{some_lines(table.damaged)} with too few or too many columns: left out")
    if table.cut:
        notes.append(f"the file ends within line {table.cut}: its last number is left out")
    if table.second:
        notes.append(
            f"another table starts at line {table.second}: it is left out, give it as its own file"
        )
    notes.append(SKIPPED + _skipped(table, series))
    return tuple(notes)


def _skipped(table: Table, series: tuple[Series, ...]) -> str:
    """How many periods may have been skipped, as far as period and duration are known."""
    if not table.command or not table.duration_s:
        return ""
    planned = table.duration_s * NS_PER_S // table.command.period_ns
    fewest = min((each.histogram.total for each in series), default=0)
    period = format_ns(table.command.period_ns)
    return (
        f": in {table.duration_s} s (whole seconds, starting and stopping included) there are "
        f"{planned} periods of {period}, the shortest series has {fewest} wake-ups"
    )


def _total_notes(table: Table, series: tuple[Series, ...]) -> list[str]:
    """Compare the block ``ALL:`` with the series."""
    row = table.total.get("count")
    if row is None or not table.columns:
        return []
    notes = []
    for context, cell in zip(table.total_contexts, row.cells, strict=False):
        stated = count_of(cell)
        names = [column.context == context for column in table.columns]
        parts = [each for each, used in zip(series, names, strict=True) if used]
        found = sum(each.histogram.total for each in parts)
        if stated is not None and parts and stated != found:
            notes.append(
                f"its block ALL counts {stated} wake-ups of {CONTEXTS[context]}, its CPUs {found}"
            )
    return notes


IMPORTER: Final = Importer(
    name="rtla-hist",
    what="rtla timerlat hist: text; one series per CPU and context",
    matches=matches,
    read=read,
)
