"""The text format of ftrace: ``trace`` and ``trace_pipe`` of tracefs, ``trace-cmd report``.

    comm-tid [cpu] flags seconds.micros: event: fields

(Documentation/trace/ftrace.rst, "Output format".)  The columns for flags and thread group may be
missing.  Lines of the tracers timerlat and osnoise are read, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from sys import intern
from typing import Final

from vmjitter.trace.events import Event, Lost, Other, Source, TimerLatency, What
from vmjitter.trace.intervals import Interval, inside
from vmjitter.trace.parsers import Parsed
from vmjitter.trace.parsers.kernel_events import READERS

_LINE: Final = re.compile(
    r" *(.{1,16})-(\d+) +(?:\( *(?:\d+|-+)\) +)?\[(\d+)\] +(?:[^ ]{1,10} +)?"
    r"(\d+)\.(\d{6,9}): +(?:(\w+): *(.*)|(#.*))$"
)
_LOST: Final = re.compile(r"CPU:\s*(\d+)\s*\[LOST (\d+) EVENTS\]")
_LOST_UNKNOWN: Final = re.compile(r"CPU:\s*(\d+)\s*\[LOST EVENTS\]")
_TIMERLAT: Final = re.compile(r"#\d+\s+context\s+(\S+)\s+timer_latency\s+(\d+) ns")


SILENCE_NS: Final = 1_000_000_000
"""A CPU that says nothing for so long may have been cut out of the recording: what it did before is
not taken to go on."""


def parse_ftrace(
    lines: Iterable[str], source: Source, keep: Sequence[Interval] | None = None
) -> Parsed:
    """Read a trace; times as they are printed, in ns.

    Args:
        lines: with or without their line ends.
        source: the kernel that recorded it.
        keep: events at other times are only counted; None for all of them.  What is left out has a
            `Lost` in its place, so nobody takes the events around it for neighbours.
    """
    reader = _Reader(source, keep)
    for number, line in enumerate(lines, 1):
        reader.read(number, line.rstrip("\r\n"))
    return reader.parsed()


class _Reader:
    def __init__(self, source: Source, keep: Sequence[Interval] | None) -> None:
        self._source = source
        self._keep = keep
        self._events: list[Event] = []
        self._seen: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._last: dict[int, int] = {}
        self._gaps: dict[int, int] = {}
        self._lost = 0
        self._broken = 0
        self._first_broken = ""

    def read(self, number: int, line: str) -> None:
        match = _LINE.match(line)
        if match is None:
            self._read_other(number, line)
            return
        comm, tid, cpu_text, seconds, fraction, name, rest, tracer = match.groups()
        cpu = int(cpu_text)
        time_ns = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        if self._keep is not None and not inside(time_ns, self._keep):
            self._gaps.setdefault(cpu, 0)
            self._seen[name] += tracer is None
            return
        what = self._payload(name, rest) if tracer is None else _timerlat(tracer)
        if what is None:
            self._break(number, line)
            return
        if cpu in self._gaps or time_ns - self._last.get(cpu, time_ns) > SILENCE_NS:
            self._close_gap(cpu, time_ns)
        self._last[cpu] = time_ns
        self._add(time_ns, cpu, (int(tid), intern(comm)), what)

    def _payload(self, name: str, rest: str) -> What | None:
        known = READERS.get(name)
        if known is None:
            self._seen[name] += 1
            self._unknown[name] += 1
            return Other(name)
        match = known[0].match(rest)
        if match is None:
            return None
        self._seen[name] += 1
        return known[1](match)

    def _read_other(self, number: int, line: str) -> None:
        text = line.strip()
        if not text or text.startswith("#"):
            return
        lost = _LOST.match(text)
        if lost is None and _LOST_UNKNOWN.match(text) is None:
            # the head of `trace-cmd report`
            if not re.match(r"cpus=\d+$|version = \d+$|CPU \d+ is empty$", text):
                self._break(number, line)
            return
        count = int(lost[2]) if lost is not None else 1
        cpu = int(text.partition(":")[2].split("[")[0])
        self._gaps[cpu] = self._gaps.get(cpu, 0) + count
        self._lost += count

    def _close_gap(self, cpu: int, until_ns: int) -> None:
        """The marker stands before the first event after the gap."""
        count = self._gaps.pop(cpu, 0)
        start_ns = self._last.get(cpu, 0)
        self._add(start_ns, cpu, (-1, ""), Lost(count, until_ns))

    def _add(self, time_ns: int, cpu: int, task: tuple[int, str], what: What) -> None:
        order = len(self._events)
        self._events.append(Event(time_ns, self._source, order, cpu, *task, what))

    def _break(self, number: int, line: str) -> None:
        self._broken += 1
        self._first_broken = self._first_broken or f"line {number}: {line.strip()[:80]}"

    def parsed(self) -> Parsed:
        return Parsed(
            events=self._events,
            seen=self._seen,
            unknown=self._unknown,
            broken=self._broken,
            lost=self._lost,
            first_broken=self._first_broken,
        )


def _timerlat(text: str) -> What | None:
    match = _TIMERLAT.match(text)
    if match is None:
        return None
    return TimerLatency(match[1], int(match[2]))
