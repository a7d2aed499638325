"""`oslat`, text and ``--json``: gaps in a busy loop, by CPU.

oslat reads the time stamp counter again and again; a "latency" is the time between two reads.
There is no period and there are no wake-ups, so nothing is missed either: the gaps cover all of
the time.

A bucket is named by its upper edge in µs, from the bias (``-B``) on in steps of the width
(``-W``).  The last bucket holds all longer gaps, too.  If edges have decimals, minimum and maximum
are in ns in the JSON, and in µs in the text; else all are in whole µs.  Up to rt-tests 2.6 those
are rounded up, in 2.10 they are rounded down (seen in recordings; `insert_bucket` and
`write_summary` in rt-tests' src/oslat/oslat.c for the rest).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Series, refuse
from vmjitter.report.importers.reading import (
    DAMAGED,
    Counted,
    Line,
    count_of,
    lines,
    scaled,
    some_lines,
    text_head,
)
from vmjitter.report.importers.rt_tests import (
    MAX_THREADS,
    Options,
    parse_command,
    short,
    thread_facts,
    thread_title,
    whole,
)
from vmjitter.report.importers.rt_tests_json import (
    Json,
    looks_like_rt_tests,
    read_envelope,
)
from vmjitter.units import NS_PER_US

MAX_BUCKETS: Final = 1 << 16
"""oslat itself has at most 1024."""

_NOTE: Final = (
    "oslat measures gaps in a busy loop, not wake-ups: counts and shares are of turns of its loop"
)
_JSON_START: Final = re.compile(r'"freq"|"cmdline:?": *"[^"]*\boslat\b')
_LABEL: Final = re.compile(
    r" *(Core|Counter Freq|CPU Freq|Minimum|Average|Maximum|Max-Min|Duration):[ \t]"
)
_ROW: Final = re.compile(
    r" *(?P<label>[A-Z][A-Za-z -]{1,20}|\d{1,19}(?:\.\d{1,9})? \(us\)):[ \t](?P<rest>.*)"
)
_UNIT: Final = re.compile(r"\(([A-Za-z ]{1,24})\)\s*$")
_VERSION: Final = re.compile(r"oslat V (\d{1,3}\.\d{1,4})\s*")
_HEAD: Final = re.compile(
    r"oslat V |Total runtime:|Thread priority:|CPU list:|CPU for main thread:|Workload"
    r"|Preheat cores:|Pre-heat for|Test |Global bias|\.\.\.|Saving|#|WARN: |INFO: "
)
_STOPPED: Final = re.compile(r"Trace threshold \((\S{1,20}) us\) triggered")
_HINT: Final = "give the file as oslat wrote it, one measurement in each"


@dataclass(frozen=True, kw_only=True)
class _Thread:
    """A thread as a file has it, times in ns.

    Attributes:
        edges: upper edge of each bucket and how many gaps it has, ascending.
        exact: times are in ns, not in whole µs.
        width_ns: of a bucket; the first one reaches from the smallest gap on.
        lost: rows of the file could not be read.
    """

    number: int
    edges: tuple[tuple[int, int], ...]
    exact: bool
    width_ns: int
    low_ns: int | None
    high_ns: int | None
    cpu: int | None = None
    facts: dict[str, str] = field(default_factory=dict)
    lost: bool = False


def matches(head: bytes, _name: str) -> bool:
    """Whether a file is of oslat, text or JSON."""
    text = text_head(head)
    if looks_like_rt_tests(head):
        return _JSON_START.search(text) is not None
    return text.startswith("oslat V ") or any(
        _LABEL.match(line) or "(including overflows)" in line for line in text.splitlines()
    )


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: it is not of oslat, or damaged.
    """
    start = content[:64].lstrip()
    return _read_json(content, place) if start.startswith(b"{") else _read_text(content, place)


def _series(thread: _Thread, place: str) -> Series:
    """Make a series of a thread.

    Raises:
        DataError: its numbers cannot be those of a measurement.
    """
    where = f"{place}: thread {thread.number}"
    counted = _counted(thread)
    histogram = counted.build(where)
    lacks = {Lack.ORDER, Lack.PERIOD}
    if histogram.overflow or thread.lost:
        lacks.add(Lack.OVERFLOW)
    if histogram.max_ns is None:
        lacks.add(Lack.EXTREMES)
    return Series(
        name=f"thread-{thread.number}",
        title=thread_title(thread.number, thread.cpu),
        period_ns=0,
        histogram=histogram,
        overruns=0,
        facts={**thread_facts(thread.number, thread.cpu), **thread.facts},
        lacks=frozenset(lacks),
        notes=tuple(counted.notes),
    )


def _counted(thread: _Thread) -> Counted:
    used = [(edge, count) for edge, count in thread.edges if count]
    if not used:
        return Counted()
    step = 1 if thread.exact else NS_PER_US
    bins = [(edge - thread.width_ns, edge - 1, count) for edge, count in used]
    first, high_ns = bins[0], thread.high_ns
    low_ns = thread.low_ns
    if low_ns is not None and low_ns < first[0]:
        bins[0] = (low_ns, *first[1:])  # with -B, shorter gaps are in the first bucket, too
    if low_ns is not None and first[1] < low_ns <= first[1] + step:
        low_ns = first[0]  # rounded up
    last_edge = used[-1][0]
    if high_ns is None or high_ns < last_edge:
        return Counted(bins=bins, min_ns=low_ns, max_ns=high_ns)
    if high_ns == last_edge and not thread.exact and thread.low_ns != 0:
        # Rounded up, it is in this bucket; rounded down, it is among the longer ones.
        bins[-1] = (bins[-1][0], last_edge + step - 1, bins[-1][2])
        return Counted(bins=bins, min_ns=low_ns, max_ns=high_ns)
    beyond = bins.pop()
    return Counted(
        bins=bins,
        overflow=beyond[2],
        overflow_from_ns=beyond[0],
        min_ns=low_ns,
        max_ns=high_ns,
    )


def _read_json(content: bytes, place: str) -> Imported:
    envelope = read_envelope(content, place)
    options = parse_command(envelope.command)
    if options.program not in {"", "oslat"}:
        raise refuse(place, None, f"this is of {options.program}, not of oslat", _OTHER_HINT)
    series = tuple(
        _series(_json_thread(number, thread, options, f"{place}: thread {number}"), place)
        for number, thread in envelope.threads.items()
    )
    return Imported(
        tool="oslat",
        series=series,
        command=envelope.command,
        created_utc=envelope.created_utc,
        facts=envelope.facts,
        notes=(_NOTE, *envelope.notes),
    )


_OTHER_HINT: Final = "import it without --format"


def _json_thread(number: int, thread: Json, options: Options, where: str) -> _Thread:
    found = thread.get("histogram")
    if not isinstance(found, dict):
        raise refuse(where, None, '"histogram" is missing', DAMAGED)
    if len(found) > MAX_BUCKETS:
        raise refuse(where, None, f"more than {MAX_BUCKETS} buckets", DAMAGED)
    exact = any("." in key for key in found)
    edges = [
        (_edge(key, where), whole(count, what=f"the count of {short(key)}", where=where))
        for key, count in found.items()
    ]
    unit_ns = 1 if exact else NS_PER_US
    facts = {
        ours: str(thread[name])
        for name, ours in _FACTS.items()
        if type(thread.get(name)) in {int, float}
    }
    cpu = thread.get("cpu")
    return _Thread(
        number=number,
        edges=tuple(sorted(edges)),
        exact=exact,
        width_ns=options.bucket_width_ns or _width(sorted(edge for edge, _ in edges), exact=exact),
        low_ns=_extreme(thread.get("min"), unit_ns),
        high_ns=_extreme(thread.get("max"), unit_ns),
        cpu=cpu if type(cpu) is int and 0 <= cpu < 1 << 31 else None,
        facts=facts,
    )


_FACTS: Final = {"freq": "counter_mhz", "avg": "avg_us", "duration": "duration_s"}


def _edge(text: str, where: str) -> int:
    edge = scaled(text, NS_PER_US)
    if edge is None or edge <= 0:
        raise refuse(where, None, f"a bucket is named {short(text)}", DAMAGED)
    return edge


def _extreme(value: object, unit_ns: int) -> int | None:
    """A time in ns; None for one that cannot be, such as the 2^64 - 1 of no gap at all."""
    if type(value) is not int:
        return None
    return scaled(str(value), unit_ns) if 0 <= value < 1 << 63 else None


def _width(edges: Sequence[int], *, exact: bool) -> int:
    """Width of a bucket, if no option tells it: the smallest distance of two.

    Empty buckets may be left out, so it may be too large; then a gap may have been longer than the
    lower edge of its bin says, but it was not longer than the upper one.
    """
    steps = [b - a for a, b in itertools.pairwise(edges) if b > a]
    if exact or steps:
        return min([*steps, *edges[:1]], default=NS_PER_US)
    return NS_PER_US


def _read_text(content: bytes, place: str) -> Imported:
    table = _Table(place=place)
    for line in lines(content):
        table.take(line)
    threads = table.threads
    if not threads or not table.edges:
        raise refuse(place, None, "there is no table of oslat in it", _HINT)
    series = tuple(_series(_text_thread(table, thread), place) for thread in range(threads))
    facts = {"rt_tests": table.version} if table.version else {}
    return Imported(tool="oslat", series=series, facts=facts, notes=(_NOTE, *table.notes()))


@dataclass(kw_only=True)
class _Table:
    """The table that oslat prints.

    Attributes:
        rows: by label, one text per thread.
        edges: upper edge of each bucket in ns, and its counts.
        exact: edges have decimals.
    """

    place: str
    rows: dict[str, tuple[str, ...]] = field(default_factory=dict)
    edges: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    exact: bool = False
    version: str = ""
    stopped: str = ""
    lost: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)

    @property
    def threads(self) -> int:
        """Columns; 0 before the first row."""
        return len(self.rows.get("Core", ())) or (len(self.edges[0][1]) if self.edges else 0)

    def take(self, line: Line) -> None:
        """Read a line."""
        text = line.text
        if not text:
            return
        match = _ROW.fullmatch(text)
        if match is not None and (match["label"][0].isdigit() or match["label"] in _LABELS):
            self._take_row(line, match["label"], match["rest"])
        elif found := _VERSION.fullmatch(text):
            self.version = found[1]
        elif found := _STOPPED.search(text):
            self.stopped = found[1]
        elif text.strip() and not _HEAD.match(text.strip()):
            self.foreign.append(line.number)

    def _take_row(self, line: Line, label: str, rest: str) -> None:
        unit = _UNIT.search(rest)
        cells = tuple((rest[: unit.start()] if unit else rest).split())
        width = self.threads or len(cells)
        if len(cells) > MAX_THREADS:
            raise refuse(self.place, line.number, f"more than {MAX_THREADS} threads", _HINT)
        if len(cells) != width or not cells or not (line.ended or unit):
            self.lost.append(line.number)
        elif label[0].isdigit():
            self._take_bucket(line, label, cells)
        elif label in self.rows:
            raise refuse(self.place, line.number, f'a second row "{label}:"', _HINT)
        else:
            self.rows[label] = cells

    def _take_bucket(self, line: Line, label: str, cells: tuple[str, ...]) -> None:
        counts = tuple(count for count in map(count_of, cells) if count is not None)
        edge = scaled(label.removesuffix(" (us)"), NS_PER_US)
        if len(counts) != len(cells) or edge is None or edge <= 0:
            self.lost.append(line.number)
            return
        if self.edges and edge <= self.edges[-1][0]:
            raise refuse(self.place, line.number, "its buckets are not in order", _HINT)
        if len(self.edges) >= MAX_BUCKETS:
            raise refuse(self.place, line.number, f"more than {MAX_BUCKETS} buckets", _HINT)
        self.exact |= "." in label
        self.edges.append((edge, counts))

    def cell(self, label: str, thread: int) -> str:
        """The text of a thread in a row; empty if there is no such row."""
        cells = self.rows.get(label, ())
        return cells[thread] if thread < len(cells) else ""

    def notes(self) -> list[str]:
        """What was strange."""
        notes = []
        if self.lost:
            notes.append(f"{some_lines(self.lost)} cut or damaged: not used")
        if self.foreign:
            notes.append(f"{some_lines(self.foreign)} not of oslat: left out")
        if "Maximum" not in self.rows:
            notes.append("its end is missing: the maximum is not told")
        if self.stopped:
            notes.append(
                f"oslat stopped at a gap of more than {self.stopped} µs, as -T demands: the length "
                "of the measurement depends on what was measured"
            )
        return notes


_LABELS: Final = frozenset(
    {"Core", "Counter Freq", "CPU Freq", "Minimum", "Average", "Maximum", "Max-Min", "Duration"}
)


def _text_thread(table: _Table, thread: int) -> _Thread:
    labels: Mapping[str, str] = {
        "counter_mhz": table.cell("Counter Freq", thread) or table.cell("CPU Freq", thread),
        "avg_us": table.cell("Average", thread),
        "duration_s": table.cell("Duration", thread),
    }
    core = count_of(table.cell("Core", thread)) if "Core" in table.rows else None
    limits = [scaled(table.cell(label, thread), NS_PER_US) for label in ("Minimum", "Maximum")]
    edges = [edge for edge, _ in table.edges]
    return _Thread(
        number=thread,
        edges=tuple((edge, counts[thread]) for edge, counts in table.edges),
        exact=table.exact,
        width_ns=_width(edges, exact=table.exact),
        low_ns=limits[0],
        high_ns=limits[1],
        cpu=core if core is not None and core < 1 << 31 else None,
        facts={name: text for name, text in labels.items() if text},
        lost=bool(table.lost) or "Maximum" not in table.rows,
    )


IMPORTER: Final = Importer(
    name="oslat",
    what="oslat, text or --json: gaps in a busy loop",
    matches=matches,
    read=read,
)
