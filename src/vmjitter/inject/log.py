"""``inject.csv``: what was done to a trial, when.  Pure.

One row per disturbance, in the order of their beginnings: ``number`` (equal for those that belong
together), ``kind`` (a name of `vmjitter.inject.kinds`), ``begin_ns`` and ``end_ns`` on the host's
CLOCK_MONOTONIC.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final, NamedTuple

from vmjitter.errors import DataError

INJECT_FILE: Final = "inject.csv"
HEADER: Final = "number,kind,begin_ns,end_ns"


class Row(NamedTuple):
    """One disturbance."""

    number: int
    kind: str
    begin_ns: int
    end_ns: int


def to_lines(rows: Iterable[Row]) -> str:
    """Lines of the file, without its head."""
    return "".join(f"{row.number},{row.kind},{row.begin_ns},{row.end_ns}\n" for row in rows)


def parse_log(text: str, place: str) -> tuple[Row, ...]:
    """Read the whole file.

    Args:
        text: its content; a last line without its end is left out, as after a crash.
        place: its name, for errors.

    Raises:
        DataError: it is not such a file; names the line.
    """
    whole = text[: text.rfind("\n") + 1]
    head, *lines = whole.splitlines() or [""]
    if head != HEADER:
        raise DataError(f"{place}, line 1: expected {HEADER!r}", hint="measure the trial again")
    rows = []
    for number, cells in enumerate(csv.reader(io.StringIO("\n".join(lines))), start=2):
        try:
            count, kind, begin, end = cells
            row = Row(int(count), kind, int(begin), int(end))
        except ValueError:
            row = None
        if row is None or row.end_ns < row.begin_ns or not row.kind:
            raise DataError(
                f"{place}, line {number}: not number, kind, begin and end: {','.join(cells)!r}",
                hint="measure the trial again",
            )
        rows.append(row)
    return tuple(rows)
