"""`cyclictest --json`, and the same of the other programs of rt-tests that measure latencies.

The histogram has no field for what lies beyond its last bucket: cycles minus the sum of all bins.
Programs that write only extremes (cyclicdeadline, signaltest, ptsematest, svsematest, pmqtest,
sigwaittest) give no more than those.
"""

from __future__ import annotations

from typing import Final

from vmjitter.report.importers.base import Imported, Importer, Series, refuse
from vmjitter.report.importers.reading import MAX_NS
from vmjitter.report.importers.rt_tests import (
    HISTOGRAM_LIMIT,
    MAX_BINS,
    Bins,
    Options,
    Thread,
    elapsed_ns,
    missing_note,
    parse_command,
    series_of,
    whole,
)
from vmjitter.report.importers.rt_tests_json import (
    Envelope,
    Json,
    looks_like_rt_tests,
    read_envelope,
)
from vmjitter.units import NS_PER_S, NS_PER_US

_HINT: Final = "give the file as the program wrote it with --json"


def matches(head: bytes, _name: str) -> bool:
    """Whether a file begins as rt-tests' JSON does."""
    return looks_like_rt_tests(head)


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: it is damaged, or of a program that measures no latency.
    """
    envelope = read_envelope(content, place)
    options = parse_command(envelope.command)
    if options.program == "oslat" or any("freq" in each for each in envelope.threads.values()):
        raise refuse(
            place, None, "this is oslat's, not cyclictest's", "import it with --format oslat"
        )
    series = tuple(
        _series(number, _flat(thread), envelope, options, place)
        for number, thread in envelope.threads.items()
    )
    if sum(len(each.histogram.count) for each in series) > MAX_BINS:
        raise refuse(place, None, f"more than {MAX_BINS} bins", _HINT)
    return Imported(
        tool=options.program or "cyclictest",
        series=series,
        command=envelope.command,
        created_utc=envelope.created_utc,
        facts=envelope.facts,
        notes=envelope.notes,
    )


def _flat(thread: Json) -> Json:
    """The fields of a thread; those of sender and receiver, if it has both, in one."""
    sender, receiver = thread.get("sender"), thread.get("receiver")
    if not isinstance(sender, dict) or not isinstance(receiver, dict):
        return thread
    return {**sender, "cycles": sender.get("samples"), **receiver}


def _series(number: int, thread: Json, envelope: Envelope, options: Options, place: str) -> Series:
    where = f"{place}: thread {number}"
    if "cycles" not in thread or not {"min", "max"} & thread.keys():
        program = options.program or "its program"
        raise refuse(where, None, f"it has no latencies; {program} measures none", _HINT)
    cycles = whole(thread["cycles"], what='"cycles"', where=where)
    bins = _bins(thread.get("histogram"), where) if "histogram" in thread else None
    notes: list[str] = []
    overflow = _overflow(bins, cycles, notes)
    period_ns = _period(thread, options.period_ns(number))
    elapsed, slack = _elapsed(envelope, options)
    missing = missing_note(cycles, period_ns=period_ns, elapsed_ns=elapsed, slack_ns=slack)
    if missing and options.program == "cyclictest":
        notes.append(missing)
    return series_of(
        Thread(
            number=number,
            unit_ns=envelope.unit_ns,
            bins=bins,
            overflow=overflow,
            bound=_bound(bins, options),
            cycles=cycles,
            low=_limit(thread.get("min")),
            high=_limit(thread.get("max")),
            cpu=_cpu(thread.get("cpu")),
            period_ns=period_ns,
            facts=_facts(thread, envelope.unit_ns),
            notes=tuple(notes),
        ),
        place,
    )


def _bins(found: object, where: str) -> Bins:
    if not isinstance(found, dict):
        raise refuse(where, None, '"histogram" is no object', _HINT)
    bins = Bins()
    for key, count in found.items():
        value = whole(key, what="a key of the histogram", where=where)
        bins.add(value, whole(count, what=f"the count of {value}", where=where))
    return bins


def _overflow(bins: Bins | None, cycles: int, notes: list[str]) -> int:
    if bins is None:
        return 0
    total = bins.total
    if total > cycles:
        notes.append(f"its histogram has {total} wake-ups, but {cycles} are counted in all")
    return max(0, cycles - total)


def _bound(bins: Bins | None, options: Options) -> int:
    """From which value on a wake-up has no bin.

    Without the command line, it is only known to be above every bin.
    """
    above = max(bins.value) + 1 if bins and bins.value else 0
    return max(above, min(options.buckets, HISTOGRAM_LIMIT))


def _period(thread: Json, from_command_ns: int) -> int:
    interval = thread.get("interval")
    if type(interval) is int and 0 < interval <= MAX_NS // NS_PER_US:
        return interval * NS_PER_US
    return from_command_ns


def _elapsed(envelope: Envelope, options: Options) -> tuple[int, int]:
    """How long it ran, and by how much that may be too long.

    Times are in whole seconds, cut off; a run that came to the end of its -D shows at least that.
    """
    planned, seen = options.duration_s, envelope.elapsed_s
    if planned and seen >= planned:
        return elapsed_ns(planned), 0
    return elapsed_ns(seen), 2 * NS_PER_S


def _limit(value: object) -> int | None:
    return value if type(value) is int else None


def _cpu(value: object) -> int | None:
    """-1 means that the thread was not pinned."""
    return value if type(value) is int and 0 <= value < 1 << 31 else None


def _facts(thread: Json, unit_ns: int) -> dict[str, str]:
    names = {
        "cycles": "cycles",
        "avg": "avg_us" if unit_ns == NS_PER_US else "avg_ns",
        "priority": "priority",
        "node": "numa_node",
    }
    found = {ours: thread.get(key) for key, ours in names.items()}
    return {ours: str(value) for ours, value in found.items() if type(value) in (int, float)}


IMPORTER: Final = Importer(
    name="cyclictest-json",
    what="cyclictest --json, and other programs of rt-tests that measure latencies",
    matches=matches,
    read=read,
)
