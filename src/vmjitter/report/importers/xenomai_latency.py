"""`latency` of Xenomai, and `latmus` of EVL, which prints the same table.

A line ``RTD`` tells minimum, average and maximum of a second; its other figures are those since
the beginning, and ``RTS`` ends them.  ``overrun`` counts missed periods, which no other tool does.
With -h a histogram follows.  It counts by size: a wake-up before its time is in it as if it were
late by as much.  Its last bucket has everything beyond, too.  A line ``RTD`` has the wake-ups of a
second, of which the program makes 10^9 divided by the period in ns.
Source: Xenomai 3, testsuite/latency/latency.c; libevl, utils/latmus.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Series, refuse
from vmjitter.report.importers.reading import (
    DAMAGED,
    MAX_COUNT,
    Counted,
    Line,
    extremes_only,
    lines,
    scaled,
    some_lines,
    text_head,
    whole,
)
from vmjitter.units import NS_PER_S, NS_PER_US

_HEAD: Final = re.compile(r"^RT[TDHS]\| ", re.MULTILINE)
_HEADING: Final = re.compile(r"^RTH\|-+lat min\|", re.MULTILINE)
_PERIOD: Final = re.compile(r"== Sampling period: (\d{1,10}) us|\b(\d{1,10}) us period\b")
_MODE: Final = re.compile(r"\(([^,()]{1,60}), \d{1,10} us period(?:, priority (\d{1,3}))?")
_CLOCK: Final = re.compile(r"(\d{2,6}):(\d{2}):(\d{2})/")
_BUCKET: Final = re.compile(r"HSD\| *(min|avg|max)\| *(\d{1,9}) *- *\d{1,10} *\| *(\d{1,16}) *")
_COUNT: Final = re.compile(r"HSS\| *avg\| *(\d{1,16})\|.{1,60}")
_FRAME: Final = re.compile(
    r"(?:RT[TH]|HSH|---)\||== |warming up|running quietly|Warning! |Please contact"
)
_BUCKET_NS: Final = 1000
"""Width of a bucket without -B; the ranges in the output are in buckets, whatever their width."""
_LONGEST: Final = 1000
_MAX_BUCKETS: Final = 1 << 20
_HINT: Final = "keep all that the program printed, from its first line on; or measure with -s"


def matches(head: bytes, _name: str) -> bool:
    """Whether lines begin as the program's do."""
    text = text_head(head)
    return bool(_HEAD.search(text) or _HEADING.search(text))


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """A line ``RTD`` or ``RTS``; times in ns."""

    min_ns: int
    avg_ns: int
    max_ns: int
    overruns: int
    switches: int
    best_ns: int
    worst_ns: int


@dataclass(kw_only=True)
class _Output:
    """What was found.

    Attributes:
        last: the last line ``RTD``; ``end``: the line ``RTS``.
        seconds: number of lines ``RTD``.
        ran_s: how long it ran, from ``RTS``.
        buckets: counts by number of the bucket, of all wake-ups.
        count: wake-ups, as the statistics say.
    """

    period_ns: int = 0
    mode: str = ""
    priority: str = ""
    last: _Figures | None = None
    end: _Figures | None = None
    seconds: int = 0
    ran_s: int = 0
    low_ns: int | None = None
    high_ns: int | None = None
    buckets: dict[int, int] = field(default_factory=dict)
    count: int | None = None
    foreign: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    second: int | None = None

    def take(self, line: Line) -> None:
        """Read a line."""
        text = line.text.strip()
        if self.second or not text:
            return
        if len(text) > _LONGEST:
            self.foreign.append(line.number)
            return
        self._take_period(text)
        if text.startswith(("RTD|", "RTS|")):
            self._take_figures(line, text)
        elif text.startswith(("HSD|", "HSS|")):
            self._take_histogram(line, text)
        elif not _FRAME.match(text):
            self.foreign.append(line.number)

    def _take_period(self, text: str) -> None:
        if match := _PERIOD.search(text):
            self.period_ns = int(match[1] or match[2]) * NS_PER_US
        if match := _MODE.search(text):
            self.mode, self.priority = match[1], match[2] or ""

    def _take_figures(self, line: Line, text: str) -> None:
        figures = _figures(text) if line.ended else None
        if figures is None:
            self.damaged.append(line.number)
        elif self.end or (self.last and figures.overruns < self.last.overruns):
            self.second = line.number
        elif text.startswith("RTS|"):
            self.end = figures
            if match := _CLOCK.search(text):
                hours, minutes, seconds = (int(part) for part in match.groups())
                self.ran_s = (hours * 60 + minutes) * 60 + seconds
            self._widen(figures)
        else:
            self.last = figures
            self.seconds += 1
            self._widen(figures)

    def _widen(self, figures: _Figures) -> None:
        low, high = figures.best_ns, figures.worst_ns
        self.low_ns = low if self.low_ns is None else min(self.low_ns, low)
        self.high_ns = high if self.high_ns is None else max(self.high_ns, high)

    def _take_histogram(self, line: Line, text: str) -> None:
        bucket, count = _BUCKET.fullmatch(text), _COUNT.fullmatch(text)
        if not line.ended or not (bucket or text.startswith("HSS|")):
            self.damaged.append(line.number)
        elif bucket and bucket[1] == "avg":
            if int(bucket[2]) in self.buckets or len(self.buckets) >= _MAX_BUCKETS:
                self.damaged.append(line.number)
            else:
                self.buckets[int(bucket[2])] = int(bucket[3])
        elif count:
            self.count = int(count[1])


def _figures(text: str) -> _Figures | None:
    cells = [cell.strip() for cell in text.split("|")[1:]]
    if len(cells) != (7 if text.startswith("RTD|") else 6):
        return None
    low, average, high = (scaled(cell, NS_PER_US) for cell in cells[:3])
    overruns, switches = whole(cells[3]), whole(cells[4])
    best, worst = (
        (scaled(cell, NS_PER_US) for cell in cells[5:7]) if len(cells) == 7 else (low, high)
    )
    numbers = (low, average, high, overruns, switches, best, worst)
    if any(number is None for number in numbers):
        return None
    found = [number or 0 for number in numbers]
    if found[0] > found[2] or found[5] > found[6] or not 0 <= found[3] <= MAX_COUNT:
        return None
    return _Figures(
        min_ns=found[0],
        avg_ns=found[1],
        max_ns=found[2],
        overruns=found[3],
        switches=found[4],
        best_ns=min(found[0], found[5]),
        worst_ns=max(found[2], found[6]),
    )


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: no line of figures is whole, or nothing tells how many wake-ups there were.
    """
    output = _Output()
    for line in lines(content):
        output.take(line)
    figures = output.end or output.last
    if figures is None or output.low_ns is None or output.high_ns is None:
        line_number = output.damaged[0] if output.damaged else None
        raise refuse(place, line_number, "no line RTD or RTS with figures is whole", DAMAGED)
    notes: list[str] = []
    counted = _counted(output, output.low_ns, output.high_ns, place, notes)
    facts = {"mode_switches": str(figures.switches), "avg_us": f"{figures.avg_ns / NS_PER_US:.3f}"}
    if output.mode:
        facts["mode"] = output.mode
    if output.priority:
        facts["priority"] = output.priority
    series = Series(
        name="latency",
        title=output.mode or "latency",
        period_ns=output.period_ns,
        histogram=counted.build(place),
        overruns=figures.overruns,
        facts=facts,
        lacks=frozenset({Lack.ORDER} if output.period_ns else {Lack.ORDER, Lack.PERIOD}),
        notes=(*notes, *counted.notes),
    )
    return Imported(tool="Xenomai latency", series=(series,), notes=_notes(output))


def _counted(output: _Output, low_ns: int, high_ns: int, place: str, notes: list[str]) -> Counted:
    if output.buckets and (found := _from_buckets(output, low_ns, high_ns)):
        return found
    if output.buckets:
        notes.append(
            f"its buckets are not {_BUCKET_NS} ns wide, and nothing in it says how wide: the "
            "histogram is not used"
        )
    count = output.count or sum(output.buckets.values()) or _from_time(output, notes)
    if not count:
        why = "nothing in it tells how many wake-ups there were"
        raise refuse(place, None, why, _HINT)
    return extremes_only(min(count, MAX_COUNT), low_ns, high_ns, 1)


def _from_time(output: _Output, notes: list[str]) -> int:
    """Wake-ups, from the period and the number of seconds."""
    if not output.period_ns:
        return 0
    seconds = output.seconds or output.ran_s
    if not output.seconds:
        notes.append("the number of its wake-ups follows from period and duration, in seconds")
    return seconds * (NS_PER_S // output.period_ns)


def _from_buckets(output: _Output, low_ns: int, high_ns: int) -> Counted | None:
    """The histogram; None if extremes and buckets contradict each other."""
    filled = sorted((number, count) for number, count in output.buckets.items() if count)
    if not filled:
        return None
    bins = [(number * _BUCKET_NS, (number + 1) * _BUCKET_NS - 1, count) for number, count in filled]
    counted = Counted(bins=bins, min_ns=low_ns, max_ns=high_ns)
    if low_ns < 0:
        _mirror(counted, low_ns)
    elif not bins[0][0] <= low_ns <= bins[0][1]:
        return None
    largest = max(high_ns, -low_ns)
    if largest < bins[-1][0]:
        return None
    if largest > bins[-1][1]:  # the last bucket has everything beyond, too
        start, _, count = counted.bins.pop()
        counted.overflow, counted.overflow_from_ns = count, start
    return counted


def _mirror(counted: Counted, low_ns: int) -> None:
    """Put together the buckets in which early wake-ups stand as if they were late."""
    early = [entry for entry in counted.bins if entry[0] <= -low_ns]
    if not early:
        return
    high = early[-1][1]
    together = (low_ns, high, sum(entry[2] for entry in early))
    counted.bins = [together, *counted.bins[len(early) :]]
    counted.notes.append(
        f"wake-ups before their time stand in its histogram as if they were late: from {low_ns} "
        f"to {high} ns they cannot be told apart"
    )


def _notes(output: _Output) -> tuple[str, ...]:
    notes = []
    if output.end is None:
        notes.append("it has no line RTS: the program was stopped, or the end is cut off")
    if output.foreign:
        notes.append(f"{some_lines(output.foreign)} not of this program: left out")
    if output.damaged:
        notes.append(f"{some_lines(output.damaged)} not whole: left out")
    if output.second:
        notes.append(
            f"another measurement starts at line {output.second}: it is left out, give it as its "
            "own file"
        )
    return tuple(notes)


IMPORTER: Final = Importer(
    name="xenomai-latency",
    what="latency of Xenomai, latmus of EVL: text; extremes, overruns, histogram with -h",
    matches=matches,
    read=read,
)
