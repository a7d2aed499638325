"""`results.json` of jitterdebugger: a histogram per thread.

The histogram has 1000 slots of a microsecond: what is later is counted, but in no slot, and only
the maximum tells how late the latest was.  The keys of ``cpu`` are numbers of threads: on which CPU
a thread ran is not in the file.  jitterdebugger sleeps until absolute times and leaves out no
period: after a stall of ten periods it counts ten wake-ups, each as late as it was.
Source: jitterdebugger 0.3 (jitterdebugger.c: `dump_stats`, `worker`), whose format is version 3.
"""

from __future__ import annotations

import json
import re
from typing import Final

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Series, refuse
from vmjitter.report.importers.reading import (
    DAMAGED,
    MAX_COUNT,
    MAX_NS,
    UNSET,
    Counted,
    whole,
)
from vmjitter.units import NS_PER_US

Json = dict[str, object]

REPLAYED: Final = (
    "jitterdebugger leaves out no period: a stall of ten periods is ten late wake-ups in it"
)
MAX_THREADS: Final = 4096

_MAX_BYTES: Final = 64 << 20
_SLOTS: Final = 1000
_ABSOLUTE: Final = 3  # the version since which it surely sleeps until absolute times
_HEAD: Final = re.compile(rb'"cpu"\s*:\s*\{')
_NOT_A_NUMBER: Final = re.compile(r'(" ?: *)[-+]?nan\b', re.IGNORECASE)
_FACTS: Final = {
    "release": "kernel",
    "version": "kernel_version",
    "machine": "machine",
    "cpus_online": "cpus_online",
}


def matches(head: bytes, _name: str) -> bool:
    """Whether a file begins as jitterdebugger's JSON does."""
    known = _HEAD.search(head) is not None and b'"file_version"' not in head
    return known and head.lstrip()[:1] == b"{" and (b'"histogram"' in head or b'"sysinfo"' in head)


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: it is damaged, or another program's.
    """
    data = _load(content, place)
    system = data.get("sysinfo")
    system = system if isinstance(system, dict) else {}
    unit_ns = _unit(system, place)
    version = data.get("version")
    lacks = {Lack.ORDER, Lack.PERIOD}
    notes = [REPLAYED]
    if not isinstance(version, int) or version < _ABSOLUTE:
        lacks.add(Lack.OVERRUNS)
        notes = ["it is of an old version, which may have left out periods"]
    series = tuple(
        _series(number, thread, unit_ns, frozenset(lacks), place)
        for number, thread in _threads(data.get("cpu"), place).items()
    )
    if "resolution_in_ns" not in system:
        notes.append("it does not name its unit: versions that do not measure microseconds")
    return Imported(
        tool="jitterdebugger",
        series=series,
        facts={ours: _short(system[name]) for name, ours in _FACTS.items() if system.get(name)},
        notes=tuple(notes),
    )


def _load(content: bytes, place: str) -> Json:
    if len(content) > _MAX_BYTES:
        raise refuse(place, None, f"more than {_MAX_BYTES >> 20} MiB of JSON", DAMAGED)
    text = content.decode("utf-8", "replace")
    try:
        data = _parse(text)
    except json.JSONDecodeError as error:
        why = f"the JSON is damaged or cut: {error.msg}"
        raise refuse(place, error.lineno, why, DAMAGED) from error
    except (ValueError, RecursionError) as error:
        why = "a number with too many digits" if isinstance(error, ValueError) else "too deep"
        raise refuse(place, None, f"the JSON cannot be read: {why}", DAMAGED) from error
    if not isinstance(data, dict):
        raise refuse(place, 1, "it holds no JSON object", DAMAGED)
    return data


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:  # the average of no wake-ups is written as -nan
        return json.loads(_NOT_A_NUMBER.sub(r"\1null", text))


def _unit(system: Json, place: str) -> int:
    unit_ns = system.get("resolution_in_ns", NS_PER_US)
    if unit_ns not in (1, NS_PER_US) or not isinstance(unit_ns, int):
        why = f'"resolution_in_ns" is {_short(unit_ns)}, not 1 or 1000'
        raise refuse(place, None, why, DAMAGED)
    return unit_ns


def _threads(found: object, place: str) -> dict[int, Json]:
    if not isinstance(found, dict) or not found:
        raise refuse(place, None, 'there is no "cpu" with results in it', DAMAGED)
    if len(found) > MAX_THREADS:
        raise refuse(place, None, f"{len(found)} threads, more than {MAX_THREADS}", DAMAGED)
    threads: dict[int, Json] = {}
    for key, value in found.items():
        number = whole(key)
        if number is None or not 0 <= number < 1 << 31 or not isinstance(value, dict):
            raise refuse(place, None, f'"cpu" holds {_short(key)}, which is no thread', DAMAGED)
        threads[number] = value
    return dict(sorted(threads.items()))


def _series(number: int, thread: Json, unit_ns: int, lacks: frozenset[Lack], place: str) -> Series:
    where = f"{place}: thread {number}"
    bins = _bins(thread.get("histogram", {}), unit_ns, where)
    inside = sum(entry[2] for entry in bins)
    count = _number(thread, "count", where, MAX_COUNT)
    counted = Counted(bins=bins)
    if count is None:
        raise refuse(where, None, 'it has no "count"', DAMAGED)
    if count < inside:
        counted.notes.append(f"its slots hold {inside - count} wake-ups more than it counts")
    elif count > inside:
        counted.overflow = count - inside
        slots = max([_SLOTS * unit_ns, *(entry[1] + 1 for entry in bins)])
        counted.overflow_from_ns = slots
    if counted.overflow or inside:
        lacks |= _add_extremes(counted, thread, unit_ns, where)
    facts = {"thread": str(number), "count": str(count)}
    average = thread.get("avg")
    if isinstance(average, int | float) and abs(average) < MAX_NS:
        facts["avg_us" if unit_ns == NS_PER_US else "avg_ns"] = _short(average)
    return Series(
        name=f"thread-{number}",
        title=f"thread {number}, CPU unknown",
        period_ns=0,
        histogram=counted.build(where),
        facts=facts,
        lacks=lacks,
        notes=tuple(counted.notes),
    )


def _bins(found: object, unit_ns: int, where: str) -> list[tuple[int, int, int]]:
    if not isinstance(found, dict):
        raise refuse(where, None, '"histogram" is no JSON object', DAMAGED)
    bins = []
    for key, count in found.items():
        slot = whole(key)
        if slot is None or not 0 <= slot <= MAX_NS // NS_PER_US or not _is_count(count):
            why = f'"histogram" holds {_short(key)}: {_short(count)}'
            raise refuse(where, None, why, DAMAGED)
        bins.append((slot * unit_ns, (slot + 1) * unit_ns - 1, count))
    return bins


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _number(thread: Json, name: str, where: str, most: int) -> int | None:
    """A number of a thread; None if it is not there."""
    value = thread.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= most:
        raise refuse(where, None, f'"{name}" is {_short(value)}', DAMAGED)
    return value


def _add_extremes(counted: Counted, thread: Json, unit_ns: int, where: str) -> frozenset[Lack]:
    """Set minimum and maximum; return what is lacking of them.

    A wake-up before its time is a negative difference, which the program keeps without a sign: its
    maximum is then near 2^64, and the real one is lost.
    """
    low, high = (_number(thread, name, where, UNSET) for name in ("min", "max"))
    if low is not None and low <= MAX_NS // NS_PER_US:
        counted.min_ns = low * unit_ns
    if high is not None and high <= MAX_NS // NS_PER_US:
        counted.max_ns = high * unit_ns
        return frozenset()
    if high is not None:
        counted.notes.append(
            f"its maximum, {high}, stands for a wake-up before its time: the latest is not known"
        )
    if high is None and not counted.overflow:
        counted.max_ns = max(entry[0] for entry in counted.bins if entry[2])
        return frozenset()
    return frozenset({Lack.EXTREMES})


def _short(value: object) -> str:
    text = str(value) if isinstance(value, str | int | float) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


IMPORTER: Final = Importer(
    name="jitterdebugger-json",
    what="results.json of jitterdebugger; one series per thread",
    matches=matches,
    read=read,
)
