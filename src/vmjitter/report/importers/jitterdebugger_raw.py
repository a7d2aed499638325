"""`samples.raw` of jitterdebugger: every wake-up of every thread.

A record has 28 bytes, as a 64-bit little-endian machine writes ``struct latency_sample``: number of
the thread (u32), when it woke up on CLOCK_MONOTONIC (seconds and nanoseconds, i64 each), how late
that was (u64).  The file has no header: neither the unit of the lateness nor the period is in it.
Both follow from the records, because the planned times, wake-up minus lateness, are whole periods
apart: to the nanosecond if the lateness is in nanoseconds, to less than a microsecond if it was cut
off to microseconds.  With the other unit they are not.  When the program ends, the last wake-up of
a thread may not have reached the file.
Source: jitterdebugger 0.3 (jitterdebugger.h, jitterdebugger.c: `worker`, `store_samples`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Int64s, Series, refuse
from vmjitter.report.importers.jitterdebugger_json import MAX_THREADS, REPLAYED
from vmjitter.report.importers.reading import DAMAGED
from vmjitter.stats.histogram import Histogram
from vmjitter.units import NS_PER_S, NS_PER_US, format_ns

_RECORD: Final = np.dtype(
    [("thread", "<u4"), ("second", "<i8"), ("nanosecond", "<i8"), ("value", "<i8")]
)
_MAX_SECONDS: Final = 1 << 31
_MAX_VALUE: Final = 1 << 50
"""35 years in us; sums and differences of times stay in 64 bits."""
_HEAD_RECORDS: Final = 64
_FEWEST: Final = 8
"""So many distances of planned times have to agree before the unit is believed."""
_UNITS: Final = (1, NS_PER_US)


def matches(head: bytes, _name: str) -> bool:
    """Whether the first records have times and threads that can be."""
    count = min(len(head) // _RECORD.itemsize, _HEAD_RECORDS)
    if count == 0:
        return False
    records = np.frombuffer(head, _RECORD, count)
    known = _sound(records) & (records["second"] + records["nanosecond"] > 0)
    return bool(known.all())


def _sound(records: NDArray[np.void]) -> NDArray[np.bool_]:
    second, nanosecond, value = records["second"], records["nanosecond"], records["value"]
    return np.asarray(
        (records["thread"] < 1 << 20)
        & (second >= 0)
        & (second < _MAX_SECONDS)
        & (nanosecond >= 0)
        & (nanosecond < NS_PER_S)
        & (value >= -_MAX_VALUE)
        & (value <= _MAX_VALUE)
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Thread:
    """One thread's records in their order; ``woken_ns`` on CLOCK_MONOTONIC."""

    number: int
    woken_ns: Int64s
    value: Int64s


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: it is none, records are damaged or out of order, or they do not tell the unit.
    """
    count, rest = divmod(len(content), _RECORD.itemsize)
    records = np.frombuffer(content, _RECORD, count)
    if not count:
        raise refuse(place, None, "it holds no record of 28 bytes", DAMAGED)
    sound = _sound(records)
    if not sound.all():
        raise refuse(place, None, f"record {_first(~sound)} has an impossible time", DAMAGED)
    threads = _threads(records, place)
    unit_ns, period_ns = _unit_and_period(threads, place)
    series = tuple(_series(thread, unit_ns, period_ns) for thread in threads)
    unit = "us" if unit_ns == NS_PER_US else "ns"
    notes = [
        REPLAYED,
        f"unit and period follow from its times: 1 {unit}, {format_ns(period_ns)}",
    ]
    if rest:
        notes.append(f"the file ends within a record: its last {rest} bytes are left out")
    return Imported(tool="jitterdebugger", series=series, notes=tuple(notes))


def _first(where: NDArray[np.bool_]) -> int:
    return int(np.argmax(where)) + 1


def _threads(records: NDArray[np.void], place: str) -> list[_Thread]:
    """The records by thread: in the file those of several threads alternate."""
    numbers = np.unique(records["thread"])
    if len(numbers) > MAX_THREADS:
        raise refuse(place, None, f"{len(numbers)} threads, more than {MAX_THREADS}", DAMAGED)
    order = np.argsort(records["thread"], kind="stable")
    ends = np.searchsorted(records["thread"][order], numbers, side="right")
    threads = []
    for number, part in zip(numbers, np.split(order, ends[:-1]), strict=True):
        own = records[part]
        woken_ns = own["second"] * NS_PER_S + own["nanosecond"]
        back = np.diff(woken_ns) <= 0
        if back.any():
            line = int(part[np.argmax(back) + 1]) + 1
            why = f"record {line} is not later than the one of thread {number} before it"
            raise refuse(place, None, why, DAMAGED)
        threads.append(_Thread(number=int(number), woken_ns=woken_ns, value=own["value"]))
    return threads


def _unit_and_period(threads: list[_Thread], place: str) -> tuple[int, int]:
    fits = [(unit_ns, _period(threads, unit_ns)) for unit_ns in _UNITS]
    found = [(unit_ns, period_ns) for unit_ns, period_ns in fits if period_ns]
    if len(found) != 1:
        why = "several units fit" if found else "its planned times are no whole periods apart"
        raise refuse(
            place,
            None,
            f"the unit of its {sum(len(each.value) for each in threads)} records cannot be told: "
            f"{why}",
            "import results.json of the same measurement; or write the samples as CSV with "
            "jittersamples, and `cpu;time_s;latency_us` before them as first line",
        )
    return found[0]


def _period(threads: list[_Thread], unit_ns: int) -> int:
    """The period that all planned times keep to, if lateness is in this unit; else 0."""
    steps = [_steps(thread, unit_ns) for thread in threads]
    every = np.concatenate(steps)
    if len(every) < _FEWEST or every.min() <= 0:
        return 0
    period_ns = round(float(np.median(every)) / NS_PER_US) * NS_PER_US  # its option is in us
    if period_ns <= 0:
        return 0
    return period_ns if all(_keeps(each, period_ns, unit_ns) for each in steps) else 0


def _steps(thread: _Thread, unit_ns: int) -> Int64s:
    """Distances of planned times; each may be wrong by less than a unit."""
    return np.diff(thread.woken_ns - thread.value * unit_ns)


def _periods(steps: Int64s, period_ns: int) -> Int64s:
    return (steps + period_ns // 2) // period_ns


def _keeps(steps: Int64s, period_ns: int, unit_ns: int) -> bool:
    count = _periods(steps, period_ns)
    return bool((count > 0).all() and (np.abs(steps - count * period_ns) < unit_ns).all())


def _series(thread: _Thread, unit_ns: int, period_ns: int) -> Series:
    lost = int((_periods(_steps(thread, unit_ns), period_ns) - 1).sum())
    latency_ns = thread.value * unit_ns
    notes = []
    if lost:
        notes.append(
            f"{lost} wake-ups between those in the file were lost on their way to it: nothing is "
            "known of them"
        )
    early = int((latency_ns < 0).sum())
    if early:
        notes.append(f"{early} wake-ups before their time")
    return Series(
        name=f"thread-{thread.number}",
        title=f"thread {thread.number}, CPU unknown",
        period_ns=period_ns,
        histogram=_histogram(thread.value, unit_ns, lost),
        latency_ns=None if lost else latency_ns,
        facts={"thread": str(thread.number), "count": str(len(latency_ns))},
        lacks=frozenset({Lack.ORDER, Lack.EXTREMES} if lost else ()),
        notes=tuple(notes),
    )


def _histogram(value: Int64s, unit_ns: int, lost: int) -> Histogram:
    """In bins of a unit; what was lost may have had any latency."""
    distinct, count = np.unique(value, return_counts=True)
    low = distinct * unit_ns
    return Histogram(
        low_ns=low,
        high_ns=low + unit_ns - 1,
        count=count.astype(np.int64),
        overflow=lost,
        overflow_from_ns=int(low[0]) if lost else 0,
        min_ns=None if lost else int(low[0]),
        max_ns=None if lost else int(low[-1]),
    )


IMPORTER: Final = Importer(
    name="jitterdebugger-raw",
    what="samples.raw of jitterdebugger (64-bit machines); one series per thread",
    matches=matches,
    read=read,
)
