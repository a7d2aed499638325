"""What all formats of rt-tests share: options of the programs, and how a thread becomes a series.

A value v that cyclictest prints in µs is a latency cut off to whole microseconds (`calcdiff` in
rt-tests' cyclictest.c), so it stands for v*1000 to v*1000 + 999 ns.  Activations that pass while a
thread is late are left out by cyclictest without being counted, in every format.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Int64s, Series, refuse
from vmjitter.report.importers.reading import DAMAGED, MAX_COUNT, MAX_NS
from vmjitter.stats.histogram import Histogram, empty_histogram
from vmjitter.units import NS_PER_S, NS_PER_US

MAX_THREADS: Final = 4096
MAX_BINS: Final = 1 << 24
"""So many bins may a file have: more than any real one, and still little memory."""

HISTOGRAM_LIMIT: Final = 1_000_000
"""cyclictest's histograms have no more buckets than this, whatever was asked for."""
DEFAULT_INTERVAL_US: Final = 1000
DEFAULT_DISTANCE_US: Final = 500
SENTINEL_MIN: Final = 1_000_000
"""What cyclictest's minimum starts with; it stays if there is no wake-up."""

_SPARE: Final = 2  # threads end up to two cycles apart
_FLAGS: Final = {
    "i": "interval",
    "d": "distance",
    "h": "histogram",
    "H": "histofall",
    "D": "duration",
    "a": "affinity",
    "N": "nsecs",
    "o": "oscope",
    "W": "bucket-width",
    "r": "relative",
}
_LONG_VALUED: Final = frozenset(_FLAGS.values()) - {"affinity", "nsecs", "relative"}
_COMMAND: Final = re.compile(r"(?:^|[\s/$#+>:])(cyclictest[ \t]+-\S.*)")
_VALUED: Final = {"cyclictest": "bcdDFhHilopTy", "oslat": "bcCDfmwWT"}
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What matters of a command line; 0 where an option was not given.

    Attributes:
        program: its name without the directory.
        interval_us: of the first thread; ``distance_us`` more for each further one.
        buckets: of the histogram, each 1 µs (1 ns with -N).
        duration_s: how long it was to run.
        nanoseconds: cyclictest's -N; ``reduction``: its -o.
        bucket_width_ns: oslat's -W, or its default.
        cpus: list of -a, in ascending order; empty if there is none that is plain.
        relative: the next wake-up is planned from the one before, so there is no fixed period.
    """

    program: str
    interval_us: int = 0
    distance_us: int = 0
    buckets: int = 0
    duration_s: int = 0
    nanoseconds: bool = False
    reduction: int = 0
    bucket_width_ns: int = 0
    cpus: tuple[int, ...] = ()
    relative: bool = False

    def cpu(self, thread: int) -> int | None:
        """CPU of a thread of cyclictest: it gives them out in turn, in numeric order."""
        if self.program != "cyclictest" or not self.cpus:
            return None
        return self.cpus[thread % len(self.cpus)]

    def period_ns(self, thread: int) -> int:
        """Period of a thread of cyclictest; 0 if it has none, or if this is another program."""
        if self.program != "cyclictest" or self.relative:
            return 0
        period_ns = (self.interval_us + thread * self.distance_us) * NS_PER_US
        return period_ns if period_ns <= MAX_NS else 0


def parse_command(command: str) -> Options:
    """Read the options of a command line of cyclictest or oslat.

    Without -i and -d, and with a histogram, cyclictest's own defaults hold: 1000 µs, 500 µs, and
    no distance at all with a histogram (its manual page, and `process_options`).
    """
    words = command.split()
    program = words[0].rpartition("/")[2] if words else ""
    given = dict(_options(words[1:], _VALUED.get(program, "")))
    buckets = max(_number(given.get("histogram")), _number(given.get("histofall")))
    return Options(
        program=program,
        interval_us=_number(given.get("interval"), DEFAULT_INTERVAL_US),
        distance_us=0 if buckets else _number(given.get("distance"), DEFAULT_DISTANCE_US),
        buckets=min(buckets, HISTOGRAM_LIMIT),
        duration_s=_duration(given.get("duration", "")),
        nanoseconds="nsecs" in given,
        reduction=_number(given.get("oscope")),
        bucket_width_ns=_number(given.get("bucket-width"), NS_PER_US) if program == "oslat" else 0,
        cpus=_cpus(given.get("affinity", "")),
        relative="relative" in given,
    )


def command_in(text: str) -> str:
    """The command line of cyclictest in a line of text, such as that of a shell; or empty."""
    match = _COMMAND.search(text) if "cyclictest" in text else None
    return match[1].strip() if match else ""


def _cpus(text: str) -> tuple[int, ...]:
    """CPUs of e.g. "0-3,5"; none if it says anything else, such as "!2"."""
    if not re.fullmatch(r"\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*", text):
        return ()
    found: set[int] = set()
    for part in text.split(",")[:MAX_THREADS]:
        low, _, high = part.partition("-")
        found.update(range(int(low), min(int(high or low), int(low) + MAX_THREADS) + 1))
    return tuple(sorted(found))


def _options(words: Sequence[str], valued: str) -> Iterator[tuple[str, str]]:
    """Options by their long names, as getopt_long takes a command line apart."""
    place = 0
    while place < len(words):
        word = words[place]
        after = words[place + 1] if place + 1 < len(words) else ""
        place += 1
        if word.startswith("--"):
            name, sign, value = word[2:].partition("=")
            takes = not sign and name in _LONG_VALUED
            yield name, after if takes else value or _optional(name, after)
            place += takes
        elif word.startswith("-"):
            flags, letter, rest = _cluster(word[1:], valued)
            yield from ((_FLAGS.get(flag, flag), "") for flag in flags)
            if letter:
                name, takes = _FLAGS.get(letter, letter), not rest and letter in valued
                yield name, after if takes else rest or _optional(name, after)
                place += takes


def _optional(name: str, after: str) -> str:
    """The value of -a, which may stand apart, though getopt does not take it (`optarg` is null)."""
    return after if name == "affinity" and not after.startswith("-") else ""


def _cluster(letters: str, valued: str) -> tuple[str, str, str]:
    """Split e.g. "mqi200" into flags "mq", option "i" and its value "200"."""
    for place, letter in enumerate(letters):
        if letter in valued or letter in "aAt":  # the value of the latter is optional
            return letters[:place], letter, letters[place + 1 :]
    return letters, "", ""


def _number(text: str | None, default: int = 0) -> int:
    """As C's atoi, but bounded."""
    match = re.match(r"\d{1,15}", text or "")
    return int(match[0]) if match else default


def _duration(text: str) -> int:
    match = re.match(r"(\d{1,9})([mhd]?)", text.lower())
    return int(match[1]) * _SECONDS.get(match[2], 1) if match else 0


def missing_note(cycles: int, *, period_ns: int, elapsed_ns: int, slack_ns: int = 0) -> str:
    """Say how many periods of a cyclictest thread have no wake-up; empty if none is known to.

    Args:
        cycles: wake-ups.
        elapsed_ns: how long it ran; 0 if not known.
        slack_ns: so much shorter it may have run.
    """
    if period_ns <= 0 or elapsed_ns <= slack_ns:
        return ""
    expected = (elapsed_ns - slack_ns) // period_ns
    missing = expected - cycles
    if missing <= _SPARE:
        return ""
    least = "at least " if slack_ns else ""
    return (
        f"{least}{missing} of {expected} periods have no wake-up: "
        "cyclictest skips those that pass while a thread is late, and does not count them"
    )


class Bins:
    """Values as printed, and how many wake-ups had each; compact, because there may be many."""

    def __init__(self) -> None:
        self.value = array("q")
        self.count = array("q")

    def add(self, value: int, count: int) -> None:
        """Add a bin; an empty one is left out."""
        if count:
            self.value.append(value)
            self.count.append(count)

    @property
    def total(self) -> int:
        """Wake-ups in all bins."""
        return sum(self.count)


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A thread as a file of rt-tests has it; values are in the unit that was printed.

    Attributes:
        number: the program's own, counted from 0.  It is not the CPU.
        unit_ns: 1000 if values are in µs, 1 if in ns.
        bins: None if there is no histogram.
        overflow: wake-ups at ``bound`` or later, which have no bin; None if that is not known.
        cycles: wake-ups, needed if there is no histogram.
        low: the smallest value, or None; ``high``: the largest.
        cpu: where it was pinned to, or None.
    """

    number: int
    unit_ns: int
    bins: Bins | None = None
    overflow: int | None = 0
    bound: int = 0
    cycles: int = 0
    low: int | None = None
    high: int | None = None
    cpu: int | None = None
    period_ns: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def series_of(thread: Thread, place: str) -> Series:
    """Make a series of a thread.

    Raises:
        DataError: its numbers cannot be those of a measurement.
    """
    where = f"{place}: thread {thread.number}"
    notes = list(thread.notes)
    low, high = _extremes(thread, notes)
    if thread.bins is None or _all_beyond(thread, low, high):
        histogram = extremes_only(
            thread.cycles, low=low, high=high, unit_ns=thread.unit_ns, where=where
        )
        if histogram.overflow:
            notes.append("no wake-up is in a bin: only the smallest and the largest are known")
    else:
        histogram = _binned(thread, low, high, where, notes)
    return Series(
        name=f"thread-{thread.number}",
        title=thread_title(thread.number, thread.cpu),
        period_ns=thread.period_ns,
        histogram=histogram,
        facts={**thread_facts(thread.number, thread.cpu), **thread.facts},
        lacks=_lacks(thread, histogram),
        notes=tuple(notes),
    )


def _all_beyond(thread: Thread, low: int | None, high: int | None) -> bool:
    """Whether there are bins, but every wake-up is beyond them, and what is known of those.

    rt-tests 2.4 and 2.6 write an empty histogram into the JSON even without -h.
    """
    empty = thread.bins is not None and not thread.bins.value
    counted = thread.overflow is not None and thread.overflow == thread.cycles > 0
    return empty and counted and low is not None and high is not None


def thread_title(number: int, cpu: int | None = None) -> str:
    """A thread in words."""
    return f"thread {number}" if cpu is None else f"thread {number} on CPU {cpu}"


def thread_facts(number: int, cpu: int | None = None) -> dict[str, str]:
    """Number and CPU, which are different things."""
    facts = {"thread": str(number)}
    return facts if cpu is None else {**facts, "cpu": str(cpu)}


def _lacks(thread: Thread, histogram: Histogram) -> frozenset[Lack]:
    lacks = {Lack.OVERRUNS, Lack.ORDER}
    if not thread.period_ns:
        lacks.add(Lack.PERIOD)
    if histogram.overflow or thread.overflow is None:
        lacks.add(Lack.OVERFLOW)
    if histogram.max_ns is None:
        lacks.add(Lack.EXTREMES)
    return frozenset(lacks)


def _extremes(thread: Thread, notes: list[str]) -> tuple[int | None, int | None]:
    """Smallest and largest value, without what stands for "none" and what cannot be."""
    low, high = thread.low, thread.high
    if high is not None and not _fits(high, thread.unit_ns):
        notes.append(f"its maximum, {short(high)}, cannot be a latency: it is not used")
        high = None
    if low is not None and not _fits(low, thread.unit_ns):
        low = None  # 2^64 - 1 and the like: there was no wake-up
    if low is not None and high is not None and low > high:
        low = None  # the start value, such as 1000000: there was no wake-up
    return low, high


def _fits(value: int, unit_ns: int) -> bool:
    return -MAX_NS <= value * unit_ns <= MAX_NS - unit_ns


def extremes_only(
    cycles: int, *, low: int | None, high: int | None, unit_ns: int, where: str
) -> Histogram:
    """What number, smallest and largest of some wake-ups say of their distribution.

    One is known to be the smallest and one the largest; all others are known to be no earlier
    than the smallest, which is what an overflow says.
    """
    if not 0 <= cycles <= MAX_COUNT:
        raise refuse(where, None, f"it cannot have {cycles} wake-ups", DAMAGED)
    if not cycles:
        return empty_histogram()
    if low is None or high is None:
        raise refuse(
            where,
            None,
            f"it has {cycles} wake-ups, but no smallest and largest latency that could be theirs",
            DAMAGED,
        )
    same = low == high
    edge = np.array([low * unit_ns], np.int64)
    return Histogram(
        low_ns=edge,
        high_ns=edge + unit_ns - 1,
        count=np.array([cycles if same else 1], np.int64),
        overflow=0 if same else cycles - 1,
        overflow_from_ns=0 if same else low * unit_ns,
        min_ns=low * unit_ns,
        max_ns=high * unit_ns,
    )


def _binned(
    thread: Thread, low: int | None, high: int | None, where: str, notes: list[str]
) -> Histogram:
    value, count = sorted_bins(thread.bins or Bins(), thread.unit_ns, thread.overflow or 0, where)
    high = _checked_high(high, value, thread, notes)
    low = _checked_low(low, value, notes)
    overflow, start = _beyond(thread, value, high, notes)
    if not overflow and not len(value):
        return empty_histogram()
    if high is None and thread.overflow == 0 and not overflow:
        high = int(value[-1])
    unit_ns = thread.unit_ns
    return Histogram(
        low_ns=value * unit_ns,
        high_ns=value * unit_ns + (unit_ns - 1),
        count=count,
        overflow=overflow,
        overflow_from_ns=start * unit_ns if overflow else 0,
        min_ns=None if low is None else low * unit_ns,
        max_ns=None if high is None else high * unit_ns,
    )


def _beyond(thread: Thread, value: Int64s, high: int | None, notes: list[str]) -> tuple[int, int]:
    """How many wake-ups are beyond the bins, and from which value on they are."""
    if thread.overflow:
        return thread.overflow, thread.bound
    known = int(value[-1]) if len(value) else -1
    if high is None or high <= known or (high == 0 and not thread.cycles):
        return 0, 0
    if thread.overflow is not None:
        # The program counts after it has noted the maximum, and may be stopped in between.
        notes.append(f"its maximum, {high}, is in no bin: it is counted as one wake-up beyond them")
    return 1, high  # how many others there are may not be known


def _checked_high(high: int | None, value: Int64s, thread: Thread, notes: list[str]) -> int | None:
    """The maximum, unless the bins or the overflow contradict it."""
    if high is None:
        return None
    if len(value) and high < value[-1]:
        notes.append(f"its maximum, {high}, is below its highest bin, {value[-1]}: it is not used")
        return None
    if thread.overflow and high < thread.bound:
        notes.append(
            f"{thread.overflow} wake-ups are in no bin, but its maximum, {high}, would have one: "
            "it is not used"
        )
        return None
    return high


def _checked_low(low: int | None, value: Int64s, notes: list[str]) -> int | None:
    """The minimum, unless the bins contradict it."""
    lowest = int(value[0]) if len(value) else None
    if lowest is None or low == lowest:
        return low
    if low is not None:
        notes.append(f"its minimum, {low}, is not its lowest bin, {lowest}: it is not used")
    return lowest


def sorted_bins(bins: Bins, unit_ns: int, overflow: int, where: str) -> tuple[Int64s, Int64s]:
    """Values in ascending order and their counts.

    Raises:
        DataError: two bins for one value, or numbers that no measurement reaches.
    """
    if overflow < 0 or bins.total + overflow > MAX_COUNT:
        raise refuse(where, None, "it has more wake-ups than can be counted", DAMAGED)
    value, count = np.array(bins.value, np.int64), np.array(bins.count, np.int64)
    order = np.argsort(value, kind="stable")
    value, count = value[order], count[order]
    same = np.flatnonzero(value[1:] == value[:-1])
    if len(same):
        raise refuse(where, None, f"there are two bins for {value[same[0]]}", DAMAGED)
    if len(value) and max(-int(value[0]), int(value[-1])) > MAX_NS // unit_ns - 1:
        raise refuse(where, None, f"there is a bin for {value[-1]}, over 70 years", DAMAGED)
    return value, count


def whole(value: object, *, what: str, where: str) -> int:
    """A count or a latency from JSON: a whole number from 0 that fits into 64 bits.

    Raises:
        DataError: it is none.
    """
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if type(value) is int and 0 <= value <= MAX_NS:
        return value
    raise refuse(where, None, f"{what} is {short(value)}, which is no whole number", DAMAGED)


def short(value: object) -> str:
    """A value for a message, cut if it is long."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "huge"
    return text if len(text) <= 40 else f"{text[:37]}..."


def elapsed_ns(seconds: int) -> int:
    """Seconds in ns, or 0 for more than could be counted."""
    return seconds * NS_PER_S if 0 < seconds < MAX_NS // NS_PER_S else 0
