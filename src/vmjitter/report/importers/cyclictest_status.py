"""The status lines of cyclictest: one per thread, printed again and again, or once at the end.

``T: 0 ( 2404) P:95 I:200 C:2999412 Min:      5 Act:   22 Avg:   16 Max:    1312``, and with
``--smi`` a number of interrupts after it (`print_stat` in rt-tests' src/cyclictest/cyclictest.c).

Nothing in such a line names its unit, but the widths of its fields do: "Act" and "Avg" take five
characters in µs and eight in ns (``-N``).  The interval is in µs in both cases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from vmjitter.report.importers.base import refuse
from vmjitter.report.importers.reading import Line, some_lines
from vmjitter.report.importers.rt_tests import MAX_THREADS, command_in, parse_command
from vmjitter.units import NS_PER_US

UNIT_NOTE: Final = (
    "the file does not name its unit: µs are assumed; with cyclictest's -N they would be ns"
)
STATUS_START: Final = re.compile(r"T: {0,2}\d{1,5} \( *\d{1,10}\) ?P:")

_STATUS: Final = re.compile(
    r"T: *(?P<thread>\d{1,5}) *\( *(?P<tid>\d{1,10})\) *P: *(?P<priority>-?\d{1,3})"
    r" *I: *(?P<interval>\d{1,15}) *C: *(?P<cycles>\d{1,18}) *Min: *(?P<low>-?\d{1,19})"
    r" *Act:(?P<act> *-?\d{1,19}) *Avg:(?P<avg> *-?\d{1,19}) *Max:(?P<high> *-?\d{1,19})"
    r"(?: *SMI: *(?P<smis>\d{1,10}))?(?![0-9])"
)
_BREAK: Final = re.compile(r"# Break value: *(\d{1,18})\s*")
_SPIKE: Final = re.compile(r"T: *(\d{1,5}) Spike: *(\d{1,18}): TS: *(-?\d{1,18})\s*")
_CHATTER: Final = re.compile(
    r"#|policy: |WARN: |INFO: |Max CPUs = |Online CPUs = |Using \d+ cpus|spikes = \d+"
    r"|Thread \d+ (?:Interval:|using cpu)"
)
_SPIKES_SHOWN: Final = 200
_US_WIDTH: Final = 5
_NS_WIDTH: Final = 8
_MAX_WIDTH: Final = 8
_CUT_HINT: Final = "give the whole output, or remove the cut lines"


@dataclass(frozen=True, kw_only=True)
class Status:
    """The last complete line of a thread; ``low``, ``average`` and ``high`` are as printed.

    Attributes:
        line: its number in the file.
        unit_ns: 1000 or 1 if the widths tell, else None.
        smis: system management interrupts, or None if they were not counted.
    """

    line: int
    priority: int
    interval_us: int
    cycles: int
    low: int
    average: int
    high: int
    unit_ns: int | None
    smis: int | None

    @property
    def period_ns(self) -> int:
        """Distance of two planned wake-ups."""
        return self.interval_us * NS_PER_US


@dataclass(kw_only=True)
class StatusLines:
    """Takes the status lines of a file, and what else cyclictest says beside its latencies.

    Attributes:
        last: of each thread, by its number.
        cut: lines that are not complete.
        command: a command line of cyclictest, such as that of a shell; or empty.
        broken: the latency at which ``-b`` ended the measurement.
        spikes: what ``--spike`` found, per thread: value and time stamp in µs.
    """

    place: str
    command: str = ""
    broken: int | None = None
    spikes: dict[int, list[str]] = field(default_factory=dict)
    last: dict[int, Status] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    _units: dict[int, int] = field(default_factory=dict)

    def take(self, line: Line) -> bool:
        """Read a line; whether it was one of these.

        Raises:
            DataError: a thread begins anew, or there are more threads than there can be.
        """
        start = line.text.find("T:")
        if start < 0 or (found := _SPIKE.fullmatch(line.text.strip())):
            return self._take_other(line.text.strip(), found if start >= 0 else None)
        match = _STATUS.match(line.text, start)
        if match is None:
            looks_so = STATUS_START.match(line.text, start) is not None
            self.cut += [line.number] if looks_so else []
            return looks_so
        at_end = not line.text[match.end() :].strip()
        if not line.ended and at_end and len(match["high"]) < _MAX_WIDTH:
            self.cut.append(line.number)
            return True
        self._keep(int(match["thread"]), _status(line.number, match))
        return True

    def _take_other(self, text: str, spike: re.Match[str] | None) -> bool:
        if spike:
            self.spikes.setdefault(int(spike[1]), []).append(f"{spike[2]} at {spike[3]}")
        elif match := _BREAK.fullmatch(text):
            self.broken = int(match[1])
        elif command := command_in(text):
            self.command = self.command or command
        else:
            return False
        return True

    def _keep(self, thread: int, status: Status) -> None:
        before = self.last.get(thread)
        if before is not None and status.cycles < before.cycles:
            raise refuse(
                self.place,
                status.line,
                f"thread {thread} begins anew: these are two measurements",
                "split the file, and import each part",
            )
        if status.unit_ns is not None:
            self._units[status.unit_ns] = status.line
        self.last[thread] = status
        if len(self.last) > MAX_THREADS:
            raise refuse(self.place, status.line, f"more than {MAX_THREADS} threads", _CUT_HINT)

    @property
    def unit_ns(self) -> int | None:
        """The unit that the lines have in common, or that of the command line; None if neither.

        Raises:
            DataError: some are in µs and some in ns.
        """
        if len(self._units) > 1:
            raise refuse(
                self.place,
                max(self._units.values()),
                "some status lines are in µs, some in ns",
                "give the output of one measurement as cyclictest printed it",
            )
        if self._units or not self.command:
            return next(iter(self._units), None)
        return 1 if parse_command(self.command).nanoseconds else NS_PER_US

    def spike_facts(self, thread: int) -> dict[str, str]:
        """What ``--spike`` found for a thread."""
        spikes = self.spikes.get(thread)
        if not spikes:
            return {}
        more = len(spikes) - _SPIKES_SHOWN
        shown = ", ".join(spikes[:_SPIKES_SHOWN])
        return {"spikes_us": f"{shown} and {more} more" if more > 0 else shown}

    def notes(self) -> list[str]:
        """What was strange."""
        notes = [f"{some_lines(self.cut)} cut: not used"] if self.cut else []
        if self.broken is not None:
            notes.append(
                f"cyclictest stopped at a latency of {self.broken}, as -b demands: the length of "
                "the measurement depends on what was measured"
            )
        return notes


def is_chatter(text: str) -> bool:
    """Whether a line says nothing of latencies: warnings, load averages, comments."""
    return not text.strip() or _CHATTER.match(text.strip()) is not None


def status_facts(status: Status, unit_ns: int) -> dict[str, str]:
    """What a status line tells beside the latencies, by the names of `Series.facts`."""
    facts = {
        "cycles": str(status.cycles),
        "priority": str(status.priority),
        "avg_us" if unit_ns == NS_PER_US else "avg_ns": str(status.average),
    }
    return facts if status.smis is None else {**facts, "smis": str(status.smis)}


def _status(number: int, match: re.Match[str]) -> Status:
    return Status(
        line=number,
        priority=int(match["priority"]),
        interval_us=int(match["interval"]),
        cycles=int(match["cycles"]),
        low=int(match["low"]),
        average=int(match["avg"]),
        high=int(match["high"]),
        unit_ns=_unit(match["act"], match["avg"]),
        smis=None if match["smis"] is None else int(match["smis"]),
    )


def _unit(*fields: str) -> int | None:
    """The unit that widths of fields tell: a field that is filled up may be of either kind."""
    for text in fields:
        padded = text.startswith(" ")
        if padded and len(text) == _NS_WIDTH:
            return 1
        if (padded and len(text) == _US_WIDTH) or (
            not padded and _US_WIDTH <= len(text) < _NS_WIDTH
        ):
            return NS_PER_US
    return None
