"""The lines of cyclictest: every value (``-v``), or the status lines of a run without a histogram.

``-v`` prints ``task:cycle:value`` for each wake-up, in their order, and with ``--smi`` a fourth
number.  A cycle is a wake-up, not a period: periods that pass while a thread is late have no line.
With ``-o N`` a value is the largest of N wake-ups, and its cycle the place of that one
(`print_stat` in rt-tests' src/cyclictest/cyclictest.c).

The line ``Thread 0 Interval: 1500`` names the interval of the thread after it, because
cyclictest adds the distance before it prints.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from vmjitter.model.judge import Lack
from vmjitter.report.importers import cyclictest_histogram
from vmjitter.report.importers.base import Imported, Importer, Int64s, Series, refuse
from vmjitter.report.importers.cyclictest_status import (
    STATUS_START,
    UNIT_NOTE,
    Status,
    StatusLines,
    is_chatter,
    status_facts,
)
from vmjitter.report.importers.reading import DAMAGED, MAX_NS, Line, lines, some_lines, text_head
from vmjitter.report.importers.rt_tests import (
    MAX_THREADS,
    Bins,
    Options,
    Thread,
    parse_command,
    series_of,
)
from vmjitter.units import NS_PER_US

_VALUE: Final = re.compile(r" *(\d{1,5}): *(\d{1,15}):( *-?\d{1,15})(?: +\d{1,10})? *")
_INTERVAL: Final = re.compile(r"Thread (\d{1,5}) Interval: (\d{1,12})\s*")
_VALUE_WIDTH: Final = 8
_HISTOGRAM: Final = "# Histogram"
_HINT: Final = "give the output as cyclictest printed it, one measurement in each file"
_UNIT_HINT: Final = (
    "give the line with its blanks, as cyclictest printed it: the width of its fields tells"
)


@dataclass(kw_only=True)
class _Values:
    """The values of a thread, in their order, each with the cycle that stands beside it."""

    cycle: array[int] = field(default_factory=lambda: array("q"))
    value: array[int] = field(default_factory=lambda: array("q"))


@dataclass(kw_only=True)
class _File:
    """What was found.

    Attributes:
        interval_us: as printed, which is that of the next thread.
        histogram: there is one, too.
    """

    place: str
    status: StatusLines
    values: dict[int, _Values] = field(default_factory=dict)
    interval_us: dict[int, int] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)
    histogram: bool = False

    def take(self, line: Line) -> None:
        """Read a line."""
        if not line.text:
            return
        match = _VALUE.fullmatch(line.text)
        if match is not None:
            self._take_value(line, match)
        elif interval := _INTERVAL.fullmatch(line.text):
            self.interval_us[int(interval[1])] = int(interval[2])
        elif line.text.strip() == _HISTOGRAM:
            self.histogram = True
        elif not self.status.take(line) and not is_chatter(line.text):
            self.foreign.append(line.number)

    def _take_value(self, line: Line, match: re.Match[str]) -> None:
        if not line.ended and len(match[3]) < _VALUE_WIDTH:
            self.cut.append(line.number)
            return
        thread = int(match[1])
        values = self.values.get(thread)
        if values is None:
            if len(self.values) >= MAX_THREADS:
                raise refuse(self.place, line.number, f"more than {MAX_THREADS} threads", DAMAGED)
            values = self.values[thread] = _Values()
        values.cycle.append(int(match[2]))
        values.value.append(int(match[3]))

    def period_ns(self, thread: int, options: Options) -> int:
        """Period of a thread; 0 if the file does not tell."""
        if (status := self.status.last.get(thread)) is not None:
            return status.period_ns
        if options.program:
            return options.period_ns(thread)
        before = self.interval_us.get(thread - 1)
        if before is None and {0, 1} <= self.interval_us.keys():
            before = 2 * self.interval_us[0] - self.interval_us[1]
        return max(before or 0, 0) * NS_PER_US


def matches(head: bytes, _name: str) -> bool:
    """Whether a file has such lines in its beginning."""
    return any(
        STATUS_START.search(line) or _VALUE.fullmatch(line)
        for line in text_head(head).splitlines()[:200]
    )


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: there is no such line in it, or their unit cannot be told.
    """
    file = _File(place=place, status=StatusLines(place=place))
    for line in lines(content):
        file.take(line)
    if file.histogram and not file.values:
        return cyclictest_histogram.read(content, place)
    options = parse_command(file.status.command)
    if file.values:
        series = tuple(
            _ordered(file, thread, values, options)
            for thread, values in sorted(file.values.items())
        )
    else:
        series = tuple(
            _extremes(file, thread, status, options)
            for thread, status in sorted(file.status.last.items())
        )
    if not series:
        raise refuse(place, None, "there is no complete line of cyclictest in it", _HINT)
    return Imported(
        tool="cyclictest", series=series, command=file.status.command, notes=_notes(file)
    )


def _extremes(file: _File, thread: int, status: Status, options: Options) -> Series:
    unit_ns = file.status.unit_ns
    if unit_ns is None:
        why = "whether it is in µs or in ns cannot be told"
        raise refuse(file.place, status.line, why, _UNIT_HINT)
    found = Thread(
        number=thread,
        unit_ns=unit_ns,
        cycles=status.cycles,
        low=status.low,
        high=status.high,
        cpu=options.cpu(thread),
        period_ns=status.period_ns,
        facts=status_facts(status, unit_ns) | file.status.spike_facts(thread),
    )
    return series_of(found, file.place)


def _ordered(file: _File, thread: int, values: _Values, options: Options) -> Series:
    unit_ns = file.status.unit_ns or NS_PER_US
    value = np.array(values.value, np.int64)
    if max(-int(value.min()), int(value.max())) > MAX_NS // unit_ns - 1:
        raise refuse(file.place, None, f"thread {thread} has an impossible latency", DAMAGED)
    per_value, notes = _reduction(np.array(values.cycle, np.int64), value, options)
    lost = _lost(file, thread, values, per_value, notes)
    status = file.status.last.get(thread)
    facts = status_facts(status, unit_ns) if status else {"cycles": str(len(value) * per_value)}
    found = series_of(
        Thread(
            number=thread,
            unit_ns=unit_ns,
            bins=_bins(value),
            overflow=None if lost else 0,
            bound=int(value.max()) + 1,
            cycles=len(value),
            high=max(int(value.max()), status.high if status else 0),
            cpu=options.cpu(thread),
            period_ns=file.period_ns(thread, options) * per_value,
            facts=facts | file.status.spike_facts(thread),
            notes=tuple(notes),
        ),
        file.place,
    )
    if lost or found.histogram.total != len(value):
        return found
    return replace(found, latency_ns=value * unit_ns, lacks=found.lacks - {Lack.ORDER})


def _bins(value: Int64s) -> Bins:
    bins = Bins()
    latencies, counts = np.unique(value, return_counts=True)
    for latency, count in zip(latencies.tolist(), counts.tolist(), strict=True):
        bins.add(latency, count)
    return bins


def _reduction(cycle: Int64s, value: Int64s, options: Options) -> tuple[int, list[str]]:
    """How many wake-ups a value stands for: N with ``-o N``, else 1."""
    place = np.arange(len(cycle))
    shown = value != 0  # beside 0 stands an older cycle: it is no new maximum
    near = round((int(cycle[-1]) + 1) / len(cycle)) if len(cycle) >= _FEW else 1
    for number in dict.fromkeys((options.reduction or 1, 1, near - 1, near, near + 1)):
        if number >= 1 and bool((cycle[shown] // number == place[shown]).all()):
            return number, [] if number == 1 else [_REDUCED.format(number)]
    return 1, []


_FEW: Final = 5
_REDUCED: Final = "because of -o, each value is the largest of {0} wake-ups: it counts as one"


def _lost(file: _File, thread: int, values: _Values, per_value: int, notes: list[str]) -> bool:
    """Whether there are wake-ups without a value in the file."""
    count = len(values.value)
    first = values.cycle[0]
    wanted = (max(values.cycle) - first) // per_value + 1
    if bool((np.diff(np.array(values.cycle, np.int64)) < 0).any()):
        raise refuse(
            file.place,
            None,
            f"the cycles of thread {thread} are not in order: these may be two measurements",
            _HINT,
        )
    status = file.status.last.get(thread)
    unseen = max(0, status.cycles - first - count * per_value) if status else 0
    missing = max(wanted - count, 0) + unseen // per_value
    if first >= per_value:
        notes.append(f"it begins at cycle {first}: those before are not in the file")
    if missing:
        notes.append(f"at least {missing} values are missing: lines were lost")
    return missing > 0


def _notes(file: _File) -> tuple[str, ...]:
    notes = [UNIT_NOTE] if file.status.unit_ns is None else []
    if file.cut:
        notes.append(f"{some_lines(file.cut)} cut: not used")
    if file.foreign:
        notes.append(f"{some_lines(file.foreign)} not of cyclictest: left out")
    if file.histogram:
        notes.append("its histogram is not used: with --format cyclictest-histogram it is")
    return (*notes, *file.status.notes())


IMPORTER: Final = Importer(
    name="cyclictest-lines",
    what="cyclictest -v: every value; or its status lines: number, minimum, average, maximum",
    matches=matches,
    read=read,
)
