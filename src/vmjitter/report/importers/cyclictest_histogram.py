"""The histogram of `cyclictest -h` and `-H` as text, from stdout or ``--histfile``.

Two forms: before rt-tests 2.7 every bucket has a row and ``# Total:`` follows; since then empty
buckets are left out, and so is that line (`print_hist` in rt-tests' src/cyclictest/cyclictest.c,
`hset_print_bucket` in src/lib/histogram.c; commits edba246 and b02dde1).  With ``-H``, rows and
some of the lines below have a further column, all threads together.

Columns are threads, not CPUs.  The unit is not in the file: it is µs unless ``-N`` was given;
status lines or the command line, if they are in the file, tell it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Series, refuse
from vmjitter.report.importers.cyclictest_status import (
    UNIT_NOTE,
    StatusLines,
    is_chatter,
    status_facts,
)
from vmjitter.report.importers.reading import Line, count_of, lines, some_lines, text_head, whole
from vmjitter.report.importers.rt_tests import (
    HISTOGRAM_LIMIT,
    MAX_BINS,
    MAX_THREADS,
    Bins,
    Options,
    Thread,
    elapsed_ns,
    missing_note,
    parse_command,
    series_of,
)
from vmjitter.units import NS_PER_US

_TITLE: Final = "# Histogram"
_ROW: Final = re.compile(r"\d{1,20}(?:[ \t]+\d{1,20})*")
_SUMMARY: Final = re.compile(
    r"# (Total|Min Latencies|Avg Latencies|Max Latencies|Histogram Overflows|SMIs):(.*)"
)
_OVERFLOWED: Final = re.compile(r"# Thread (\d{1,5}):([ 0-9]*)(?:# *(\d{1,18}) others)?\s*")
_VERBOSE: Final = re.compile(r" *\d{1,5}: *\d{1,18}: *-?\d{1,18}")
_HINT: Final = "give the file as cyclictest printed it, one measurement in each"
_CYCLES_SHOWN: Final = 200


@dataclass(kw_only=True)
class _File:
    """What was found; each line of the summary has one number per thread, or one more.

    Attributes:
        columns: of the rows; the last one may be all threads together.
        summing: in each row, the last number is the sum of the others.
        buckets: the highest row and 1.
        overflowed: per thread the cycles that are listed, and how many there are in all.
        lost: rows that cannot be read; ``cut``: other lines.
        verbose: there are values of ``-v``, too.
    """

    place: str
    status: StatusLines
    started: bool = False
    columns: list[Bins] = field(default_factory=list)
    summing: bool = True
    buckets: int = 0
    bins: int = 0
    summary: dict[str, tuple[int, ...]] = field(default_factory=dict)
    overflowed: dict[int, tuple[str, int]] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)
    verbose: bool = False

    def take(self, line: Line) -> None:
        """Read a line."""
        text = line.text.strip()
        if not text:
            return
        if text == _TITLE:
            self._start(line)
        elif match := _SUMMARY.fullmatch(text):
            self._take_summary(line, match[1], match[2])
        elif self.started and _ROW.fullmatch(text):
            self._take_row(line, text)
        elif not self._take_other(line, text):
            self.foreign.append(line.number)

    def _start(self, line: Line) -> None:
        if self.started:
            raise refuse(self.place, line.number, "a second histogram begins", _HINT)
        self.started = True

    def _take_summary(self, line: Line, name: str, text: str) -> None:
        numbers = [whole(word) for word in text.split()]
        found = tuple(number for number in numbers if number is not None)
        if not line.ended or len(found) != len(numbers):
            self.cut.append(line.number)  # its last number may have lost digits
        elif name in self.summary:
            raise refuse(self.place, line.number, f'a second line "# {name}:"', _HINT)
        else:
            self.summary[name] = found

    def _take_row(self, line: Line, text: str) -> None:
        bucket, *cells = text.split()
        counts = [count for count in map(count_of, cells) if count is not None]
        width = len(self.columns) or len(cells)
        if not line.ended or not len(cells) == len(counts) == width or not cells:
            self.lost.append(line.number)
            return
        if len(bucket) > 7 or int(bucket) >= HISTOGRAM_LIMIT or width > MAX_THREADS:
            why = f"cyclictest has at most {HISTOGRAM_LIMIT} buckets and {MAX_THREADS} threads"
            raise refuse(self.place, line.number, why, _HINT)
        self._add(int(bucket), counts)
        if self.bins > MAX_BINS:
            raise refuse(self.place, line.number, f"more than {MAX_BINS} bins", _HINT)

    def _add(self, bucket: int, counts: list[int]) -> None:
        if not self.columns:
            self.columns = [Bins() for _ in counts]
        for column, count in zip(self.columns, counts, strict=True):
            column.add(bucket, count)
        self.bins += sum(1 for count in counts if count)
        self.summing &= sum(counts[:-1]) == counts[-1]
        self.buckets = max(self.buckets, bucket + 1)

    def _take_other(self, line: Line, text: str) -> bool:
        if match := _OVERFLOWED.fullmatch(text):
            known = len(match[2].split())
            self.overflowed[int(match[1])] = (match[2].strip(), known + int(match[3] or 0))
            self.cut += [] if line.ended else [line.number]
        elif self.status.take(line):
            pass
        elif _VERBOSE.match(line.text):
            self.verbose = True
        else:
            return is_chatter(text)
        return True


def matches(head: bytes, _name: str) -> bool:
    """Whether a file has such a histogram, or the end of one, in its beginning."""
    text = text_head(head)
    if text.lstrip().startswith("{"):
        return False
    return any(
        line.strip() == _TITLE or (line.startswith("# ") and _SUMMARY.match(line) is not None)
        for line in text.splitlines()
    )


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: there is no histogram in it, or more than one, or it is damaged.
    """
    file = _File(place=place, status=StatusLines(place=place))
    for line in lines(content):
        file.take(line)
    if not file.started or not (file.columns or file.summary):
        raise refuse(place, None, "there is no cyclictest histogram in it", _HINT)
    options = parse_command(file.status.command)
    threads, in_all = _shape(file)
    series = tuple(_series(file, thread, threads, options) for thread in range(threads))
    notes = _notes(file, in_all=in_all)
    return Imported(tool="cyclictest", series=series, command=file.status.command, notes=notes)


def _shape(file: _File) -> tuple[int, bool]:
    """How many threads there are, and whether the last column is all of them together."""
    width = len(file.columns)
    stated = [len(file.summary[name]) for name in _PER_THREAD if name in file.summary]
    threads = stated[0] if stated else len(file.overflowed)
    if threads and (not width or width in {threads, threads + 1}):
        return min(threads, MAX_THREADS), width == threads + 1
    if not threads and width:
        in_all = width > 1 and bool(file.bins) and file.summing
        return width - in_all, in_all
    why = f"rows have {width} columns, but the lines below them speak of {threads} threads"
    raise refuse(file.place, None, why, _HINT)


_PER_THREAD: Final = ("Min Latencies", "Avg Latencies", "SMIs")
"""Lines that have no column for all threads together."""


def _series(file: _File, thread: int, threads: int, options: Options) -> Series:
    bins = file.columns[thread] if file.columns else Bins()
    notes: list[str] = []
    overflow = _overflow(file, thread, notes)
    low, high, total = (
        _cell(file, name, thread, threads) for name in ("Min Latencies", "Max Latencies", "Total")
    )
    cycles = bins.total + (overflow or 0)
    if total is not None and total not in {bins.total, cycles}:
        notes.append(f"its bins have {bins.total} wake-ups, but its total says {total}")
    period_ns = _period_ns(file, thread, options)
    missing = missing_note(cycles, period_ns=period_ns, elapsed_ns=elapsed_ns(options.duration_s))
    notes += [f"unless it was stopped before the end of its -D: {missing}"] if missing else []
    found = series_of(
        Thread(
            number=thread,
            unit_ns=file.status.unit_ns or NS_PER_US,
            bins=bins,
            overflow=None if file.lost and not overflow else overflow,
            bound=max(file.buckets, options.buckets),
            cycles=cycles,
            low=low,
            high=high,
            cpu=options.cpu(thread),
            period_ns=period_ns,
            facts=_facts(file, thread, threads),
            notes=tuple(notes),
        ),
        file.place,
    )
    lacks = {Lack.OVERFLOW} if file.lost else set()  # their wake-ups may be of any latency
    return replace(found, lacks=found.lacks | lacks)


def _period_ns(file: _File, thread: int, options: Options) -> int:
    status = file.status.last.get(thread)
    return status.period_ns if status else options.period_ns(thread)


def _facts(file: _File, thread: int, threads: int) -> dict[str, str]:
    unit_ns = file.status.unit_ns or NS_PER_US
    status = file.status.last.get(thread)
    facts = status_facts(status, unit_ns) if status else {}
    facts.pop("cycles", None)  # those of the last look, not of the end
    average = "avg_us" if unit_ns == NS_PER_US else "avg_ns"
    for ours, name in ((average, "Avg Latencies"), ("smis", "SMIs")):
        number = _cell(file, name, thread, threads)
        facts |= {} if number is None else {ours: str(number)}
    return facts | _overflow_facts(file, thread)


def _cell(file: _File, name: str, thread: int, threads: int) -> int | None:
    """The number of a thread in a line of the summary; None if the line does not have it."""
    numbers = file.summary.get(name, ())
    return numbers[thread] if threads <= len(numbers) <= threads + 1 else None


def _overflow(file: _File, thread: int, notes: list[str]) -> int | None:
    """Wake-ups beyond the last bucket; None if the file does not tell how many."""
    counted = file.summary.get("Histogram Overflows")
    listed = file.overflowed.get(thread)
    if counted is None or thread >= len(counted):
        return listed[1] if listed else None
    if listed and listed[1] > counted[thread]:
        notes.append(f"{listed[1]} overflows are listed, but {counted[thread]} were counted")
        return listed[1]
    return counted[thread]


def _overflow_facts(file: _File, thread: int) -> dict[str, str]:
    """The cycles at which a wake-up was beyond the last bucket, as far as they are listed."""
    cycles, in_all = file.overflowed.get(thread, ("", 0))
    known = cycles.split()
    if not known:
        return {}
    shown = " ".join(known[:_CYCLES_SHOWN])
    more = in_all - min(len(known), _CYCLES_SHOWN)
    return {"overflow_cycles": f"{shown} and {more} more" if more else shown}


def _notes(file: _File, *, in_all: bool) -> tuple[str, ...]:
    notes = [UNIT_NOTE] if file.status.unit_ns is None else []
    if file.lost:
        notes.append(f"{some_lines(file.lost)} cut or damaged: their wake-ups are lost")
    if file.cut:
        notes.append(f"{some_lines(file.cut)} cut or damaged: not used")
    if "Max Latencies" not in file.summary or "Histogram Overflows" not in file.summary:
        notes.append("its end is missing: maximum or overflows are not told")
    if file.foreign:
        notes.append(f"{some_lines(file.foreign)} not of a histogram: left out")
    if file.verbose:
        notes.append("the values of -v are not used: with --format cyclictest-lines they are")
    if in_all and "Min Latencies" not in file.summary:
        notes.append("the last column is taken for the sum of the others")
    return (*notes, *file.status.notes())


IMPORTER: Final = Importer(
    name="cyclictest-histogram",
    what="cyclictest -h or -H: histogram as text, old and new form",
    matches=matches,
    read=read,
)
