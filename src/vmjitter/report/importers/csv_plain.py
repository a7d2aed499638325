"""CSV with a column of latencies: what is left when no format of its own fits.

The first line that is no comment names the columns, and the name of the latency column ends in its
unit: ``latency_ns``, ``latency (us)``, ``jitter[ms]``.  Beside it there may be:

* ``cpu``, ``core``, ``thread``, ``scenario``, ``round``: each value is a series of its own;
* ``index``, ``time`` and the like: only checked for growing, as rows have to be in order of time;
* ``planned_ns`` (or another unit): its steps are the period;
* ``missed``: "true" for an activation that had passed before its predecessor woke up.

So `vmjitter export --format csv` can be read back.
"""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Int64s, Series, refuse
from vmjitter.report.importers.reading import MAX_NS, scaled, text_head
from vmjitter.stats.histogram import MISSED, Histogram, empty_histogram
from vmjitter.units import NS_PER_MS, NS_PER_S, NS_PER_US

_UNITS: Final = {
    "ns": 1, "us": NS_PER_US, "µs": NS_PER_US, "μs": NS_PER_US, "ms": NS_PER_MS, "s": NS_PER_S,
}  # fmt: skip
_NAMED: Final = re.compile(r"(.{0,60}?)[ _]*[\[( _](ns|us|µs|μs|ms|s)[\])]?")
_LATENCY: Final = re.compile(r"latenc|jitter|delay|late|\blat\b|_lat\b|\blat_")
_GROUPS: Final = frozenset({"cpu", "core", "thread", "scenario", "round"})
_ORDERS: Final = frozenset(
    {"index", "i", "k", "n", "nr", "no", "cycle", "sample", "activation", "time", "timestamp", "t"}
)
_MISSED: Final = {"true": True, "1": True, "false": False, "0": False}
_MAX_SERIES: Final = 4096
_MAX_COLUMNS: Final = 1000
_LONGEST: Final = 1 << 18
_HINT: Final = (
    "name the columns in the first line, and the unit in the name of the latencies: latency_ns, "
    "latency_us, latency_ms or latency_s"
)


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Places of the columns; None where there is none."""

    delimiter: str
    width: int
    latency: int
    unit: str
    groups: dict[str, int]
    order: int | None
    planned: int | None
    planned_unit: str
    missed: int | None
    unused: tuple[str, ...]


@dataclass(kw_only=True)
class _Rows:
    """What was read of one series."""

    label: tuple[str, ...]
    latency_ns: array[int] = field(default_factory=lambda: array("q"))
    order: int | None = None
    planned_ns: int | None = None
    step_ns: int | None = None
    uneven: bool = False


def matches(head: bytes, name: str) -> bool:
    """Whether a file is named as CSV, or its first line names a latency with its unit."""
    if name.lower().endswith((".csv", ".tsv")):
        return True
    for line in text_head(head[: 1 << 12]).removeprefix("\ufeff").splitlines():
        if line.strip() and not line.startswith("#"):
            cells = _cells(line, _delimiter(line))
            return any(_is_latency(cell) and _split(cell)[1] for cell in cells)
    return False


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: its unit is not known, or a row is not as the first line says.
    """
    reader = _Reader(place)
    stream = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "replace", newline="")
    reader.take_all(stream)
    columns = reader.columns
    if columns is None:
        raise refuse(place, None, "it holds no row", _HINT)
    if not reader.rows:
        raise refuse(place, None, "it has names of columns, but no row", _HINT)
    width_ns = max(1, _UNITS[columns.unit] // 10 ** min(reader.decimals, 9))
    series = tuple(
        _series(number, rows, columns, reader, width_ns)
        for number, rows in enumerate(reader.rows.values())
    )
    return Imported(tool="CSV", series=series, notes=_notes(reader, columns, width_ns))


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip("\"'").lower() for cell in line.split(delimiter, _MAX_COLUMNS)]


def _split(name: str) -> tuple[str, str]:
    """A column's name without its unit, and the unit, or nothing."""
    match = _NAMED.fullmatch(name)
    if match:
        return match[1], match[2]
    return ("", name) if name in _UNITS and name != "s" else (name, "")


def _is_latency(name: str) -> bool:
    return _LATENCY.search(name) is not None


def _columns(line: str, number: int, place: str) -> _Columns:
    delimiter = _delimiter(line)
    names = _cells(line, delimiter)
    if len(names) > _MAX_COLUMNS:
        raise refuse(place, number, f"more than {_MAX_COLUMNS} columns", _HINT)
    latency = _latency_column(names, number, place)
    bare = [_split(name)[0] for name in names]
    groups = {name: at for at, name in enumerate(names) if name in _GROUPS}
    order = next((at for at, name in enumerate(bare) if name in _ORDERS), None)
    planned = next((at for at, name in enumerate(names) if _split(name)[0] == "planned"), None)
    planned_unit = _split(names[planned])[1] if planned is not None else ""
    missed = names.index("missed") if "missed" in names else None
    used = {latency, order, missed, planned if planned_unit else None, *groups.values()}
    return _Columns(
        delimiter=delimiter,
        width=len(names),
        latency=latency,
        unit=_split(names[latency])[1],
        groups=groups,
        order=order,
        planned=planned if planned_unit else None,
        planned_unit=planned_unit,
        missed=missed,
        unused=tuple(name for at, name in enumerate(names) if at not in used),
    )


def _latency_column(names: Sequence[str], number: int, place: str) -> int:
    if all(re.fullmatch(r"[-+0-9.e]*", name) for name in names):
        why = "there is no line with the names of the columns, so the unit is not known"
        raise refuse(place, number, why, _HINT)
    found = [at for at, name in enumerate(names) if _is_latency(name)]
    if not found and len(names) == 1 and _split(names[0])[1]:
        found = [0]
    if len(found) != 1:
        which = "several columns" if found else "no column"
        raise refuse(place, number, f"{which} by name may be the latencies", _HINT)
    if not _split(names[found[0]])[1]:
        raise refuse(place, number, f"the unit of {names[found[0]][:60]!r} is not known", _HINT)
    return found[0]


class _Reader:
    """Reads line by line: comments and names, then rows."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.columns: _Columns | None = None
        self.rows: dict[tuple[str, ...], _Rows] = {}
        self.decimals = 0
        self.cut: int | None = None
        self._line = 0

    def take_all(self, stream: io.TextIOWrapper) -> None:
        lines = self._whole_lines(stream)
        for line in lines:
            if line.strip() and not line.startswith("#"):
                self.columns = _columns(line.strip("\r\n"), self._line, self.place)
                break
        if self.columns is None:
            return
        try:
            for cells in csv.reader(lines, delimiter=self.columns.delimiter, strict=True):
                if cells and not cells[0].startswith("#"):
                    self._take(self.columns, cells)
        except csv.Error as error:
            raise self._wrong(f"this is no row of CSV: {error}") from error

    def _whole_lines(self, stream: io.TextIOWrapper) -> Iterator[str]:
        """Lines that end; the last one may be cut within a number."""
        for number, line in enumerate(stream, start=1):
            self._line = number
            if len(line) > _LONGEST:
                raise self._wrong(f"it is longer than {_LONGEST} characters")
            if line.endswith(("\n", "\r")) or self.columns is None:
                yield line
            else:
                self.cut = number

    def _wrong(self, why: str) -> DataError:
        return refuse(self.place, self._line, why, "repair or remove this row")

    def _take(self, columns: _Columns, cells: Sequence[str]) -> None:
        if len(cells) != columns.width:
            raise self._wrong(f"{len(cells)} columns where the first line names {columns.width}")
        label = tuple(cells[at].strip()[:60] for at in columns.groups.values())
        rows = self.rows.get(label)
        if rows is None:
            if len(self.rows) >= _MAX_SERIES:
                raise self._wrong(f"more than {_MAX_SERIES} series")
            rows = self.rows[label] = _Rows(label=label)
        rows.latency_ns.append(self._latency(columns, cells))
        if columns.order is not None:
            self._check_order(rows, cells[columns.order].strip())
        if columns.planned is not None:
            self._take_planned(rows, columns, cells[columns.planned].strip())

    def _latency(self, columns: _Columns, cells: Sequence[str]) -> int:
        text = cells[columns.latency].strip()
        if columns.missed is not None:
            word = cells[columns.missed].strip().lower()
            if word not in _MISSED:
                raise self._wrong(f"the column `missed` holds {word[:40]!r}, not true or false")
            if _MISSED[word]:
                return MISSED
        value = scaled(text, _UNITS[columns.unit])
        if value is None:
            what = f"{text[:40]!r} is no latency" if text else "there is no latency in it"
            raise self._wrong(f"{what}; a missed activation is `true` in a column `missed`")
        self.decimals = max(self.decimals, len(text.partition(".")[2]))
        return value

    def _check_order(self, rows: _Rows, text: str) -> None:
        value = scaled(text, NS_PER_S)
        if value is None:
            raise self._wrong(f"{text[:40]!r} is no index or time")
        if rows.order is not None and value <= rows.order:
            raise self._wrong("index or time does not grow: rows have to be in order of time")
        rows.order = value

    def _take_planned(self, rows: _Rows, columns: _Columns, text: str) -> None:
        planned_ns = scaled(text, _UNITS[columns.planned_unit])
        if planned_ns is None:
            rows.uneven = True
            return
        if rows.planned_ns is not None:
            step_ns = planned_ns - rows.planned_ns
            rows.uneven |= step_ns <= 0 or (rows.step_ns or step_ns) != step_ns
            rows.step_ns = step_ns
        rows.planned_ns = planned_ns


def _series(number: int, rows: _Rows, columns: _Columns, reader: _Reader, width_ns: int) -> Series:
    latency_ns = np.array(rows.latency_ns, np.int64)
    period_ns = 0 if rows.uneven else rows.step_ns or 0
    lacks = set() if period_ns else {Lack.PERIOD}
    if columns.missed is None:
        lacks.add(Lack.OVERRUNS)
    notes = ("planned times are no fixed period apart",) if rows.uneven else ()
    return Series(
        name=f"series-{number}" if len(reader.rows) > 1 else "series",
        title=_title(columns, rows),
        period_ns=min(period_ns, MAX_NS),
        histogram=_histogram(latency_ns[latency_ns != MISSED], width_ns),
        latency_ns=latency_ns,
        facts={"rows": str(len(latency_ns))},
        lacks=frozenset(lacks),
        notes=notes,
    )


def _title(columns: _Columns, rows: _Rows) -> str:
    named = zip(columns.groups, rows.label, strict=True)
    parts = (value if name == "scenario" else f"{name} {value}" for name, value in named if value)
    return ", ".join(parts) or "latencies"


def _histogram(latency_ns: Int64s, width_ns: int) -> Histogram:
    """In bins as wide as the last digit that the column writes."""
    if not len(latency_ns):
        return empty_histogram()
    low, count = np.unique(latency_ns, return_counts=True)
    return Histogram(
        low_ns=low,
        high_ns=low + width_ns - 1,
        count=count.astype(np.int64),
        min_ns=int(low[0]),
        max_ns=int(low[-1]),
    )


def _notes(reader: _Reader, columns: _Columns, width_ns: int) -> tuple[str, ...]:
    notes = []
    if width_ns > 1:
        notes.append(
            f"latencies have steps of {width_ns} ns: each is taken for cut off, so it may be up "
            f"to {width_ns - 1} ns more"
        )
    if columns.missed is None:
        notes.append("missed activations may have been left out: it has no column `missed`")
    if columns.unused:
        more = f" and {len(columns.unused) - 5} more" if len(columns.unused) > 5 else ""
        shown = ", ".join(repr(name[:40]) for name in columns.unused[:5])
        notes.append(f"columns without use here: {shown}{more}")
    if reader.cut:
        notes.append(f"line {reader.cut} has no end and may be cut: it is left out")
    return tuple(notes)


IMPORTER: Final = Importer(
    name="csv",
    what="CSV with a column of latencies whose name ends in the unit, e.g. latency_us",
    matches=matches,
    read=read,
)
