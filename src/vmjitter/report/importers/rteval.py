"""`summary.xml` of rteval: a histogram per CPU of the cyclictest or rtla timerlat that it ran.

* cyclictest: if one latency was above the last bucket, rteval leaves out all statistics.
* timerlat: rteval adds up the counts of interrupt, thread and return to user space, and leaves out
  the row ``over:``.  So there are three entries per period, of three different things, and nothing
  is known of what lies beyond the last bucket.  After rtla stopped at a latency there are none.

Median, mode and deviations in the file are not used: they follow from the histogram.
Source: rteval 3.10 (rteval/modules/measurement/cyclictest.py and timerlat.py: ``MakeReport``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Series, refuse
from vmjitter.report.importers.reading import (
    DAMAGED,
    MAX_NS,
    Counted,
    count_of,
    extremes_only,
    scaled,
    whole,
)
from vmjitter.units import NS_PER_S, NS_PER_US

_TOOLS: Final = ("cyclictest", "timerlat")
_MAX_BYTES: Final = 64 << 20
_MAX_DEPTH: Final = 64
_MAX_SERIES: Final = 8192
_INTERVAL: Final = {
    "cyclictest": re.compile(r"(?:^| )(?:-i ?|--interval[= ])(\d{1,9})(?: |$)"),
    "timerlat": re.compile(r"(?:^| )(?:-p ?|--period[= ])(\d{1,9})(?: |$)"),
}
_MIXED: Final = "interrupt, thread and return to user space added up"
_FACTS: Final = {
    "kernel": "SystemInfo/uname/kernel",
    "machine": "SystemInfo/uname/arch",
    "os": "SystemInfo/uname/baseos",
    "tuned_profile": "SystemInfo/Tuned/active_profile",
    "kernel_cmdline": "SystemInfo/cmdlineInfo/cmdline",
    "date": "run_info/date",
    "time": "run_info/time",
    "annotation": "run_info/annotate",
}
_LOADS_NOTE: Final = "rteval tells which loads it started, not whether they kept running"


def matches(head: bytes, _name: str) -> bool:
    """Whether a file begins as rteval's report does."""
    return re.search(rb"<rteval[\s>]", head[: 1 << 12]) is not None


@dataclass(frozen=True, kw_only=True)
class _Measurement:
    """One run of a tool; ``number`` counts those of the same tool from 1."""

    tool: str
    number: int
    element: Element
    command: str

    @property
    def period_ns(self) -> int:
        """As its command line says; 0 if it does not."""
        match = _INTERVAL[self.tool].search(self.command)
        return int(match[1]) * NS_PER_US if match else 0


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: it is no such XML, holds declarations, or has no statistics.
    """
    root = _parse(content, place)
    if root.tag != "rteval":
        raise refuse(place, 1, f"this is <{_short(root.tag)}>, not <rteval>", DAMAGED)
    measurements = list(_measurements(root))
    series = tuple(
        _series(measurement, element, place)
        for measurement in measurements
        for element in _parts(measurement, place)
    )
    if not series:
        raise _nothing(measurements, place)
    return Imported(
        tool=f"rteval {_short(root.get('version', ''))}".strip(),
        series=series,
        command="; ".join(_short(each.command, 500) for each in measurements),
        facts=_facts(root),
        notes=_notes(root, measurements, series),
    )


class _Tree:
    """Builds the tree; a declaration, such as of an entity, ends it."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._depth = 0
        self._builder = TreeBuilder()
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._builder.data
        self._parser.StartDoctypeDeclHandler = self._declaration

    def parse(self, content: bytes) -> Element:
        try:
            self._parser.Parse(content, True)  # noqa: FBT003 - it takes no names
        except expat.ExpatError as error:
            why = f"the XML is damaged or cut: {expat.errors.messages[error.code]}"
            raise refuse(self._place, error.lineno, why, DAMAGED) from error
        except (LookupError, ValueError) as error:  # an encoding that Python or expat do not have
            why = f"its encoding cannot be read: {_short(str(error))}"
            raise refuse(self._place, 1, why, DAMAGED) from error
        return self._builder.close()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            why = f"more than {_MAX_DEPTH} elements within each other"
            raise refuse(self._place, self._parser.CurrentLineNumber, why, DAMAGED)
        self._builder.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        self._builder.end(tag)

    def _declaration(self, *_parts: object) -> None:
        why = "it has a document type, which rteval does not write: it is not read further"
        raise refuse(self._place, self._parser.CurrentLineNumber, why, "remove <!DOCTYPE ...>")


def _parse(content: bytes, place: str) -> Element:
    if len(content) > _MAX_BYTES:
        raise refuse(place, None, f"more than {_MAX_BYTES >> 20} MiB of XML", DAMAGED)
    return _Tree(place).parse(content)


def _measurements(root: Element) -> Iterator[_Measurement]:
    for tool in _TOOLS:
        for number, element in enumerate(root.iterfind(f"./Measurements//{tool}"), start=1):
            command = " ".join(element.get("command_line", "").split())
            yield _Measurement(tool=tool, number=number, element=element, command=command)


def _parts(measurement: _Measurement, place: str) -> list[Element]:
    """The results per CPU; of all CPUs together only if there are none."""
    cores = measurement.element.findall("core") or measurement.element.findall("system")
    if len(cores) > _MAX_SERIES:
        raise refuse(place, None, f"{len(cores)} CPUs, more than {_MAX_SERIES}", DAMAGED)
    names = [core.get("id", "") for core in cores]
    if len(set(names)) != len(names):
        raise refuse(place, None, f"a CPU is twice in <{measurement.tool}>", DAMAGED)
    return cores


def _series(measurement: _Measurement, element: Element, place: str) -> Series:
    cpu = _short(element.get("id", "all"), 20)
    mixed = measurement.tool == "timerlat"
    where = f"{place}: {measurement.tool}, CPU {cpu}"
    counted = _counted(element, where)
    lacks = {Lack.ORDER, Lack.OVERRUNS}
    if mixed:
        _forget_maximum(counted)
        lacks |= {Lack.OVERFLOW, Lack.EXTREMES}
    elif _beyond(counted):
        lacks.add(Lack.OVERFLOW)
    period_ns = 0 if mixed else measurement.period_ns
    if not period_ns:
        lacks.add(Lack.PERIOD)
    again = f"-{measurement.number}" if measurement.number > 1 else ""
    return Series(
        name=f"{measurement.tool}{again}-cpu-{cpu}",
        title=f"{measurement.tool} on {f'CPU {cpu}' if cpu != 'all' else 'all CPUs'}"
        + (f": {_MIXED}" if mixed else ""),
        period_ns=period_ns,
        histogram=counted.build(where),
        facts=_series_facts(measurement, element, cpu),
        lacks=frozenset(lacks),
        notes=tuple(counted.notes),
    )


def _counted(element: Element, where: str) -> Counted:
    """Buckets and extremes of a CPU."""
    low, high = (_time(element, name, where) for name in ("minimum", "maximum"))
    text = element.findtext("statistics/samples", "").strip()
    count = count_of(text)
    if count is None:
        raise refuse(where, None, f"<samples> is {_short(text)!r}", DAMAGED)
    bins = [_bin(bucket, where) for bucket in element.iterfind("histogram/bucket")]
    inside = sum(entry[2] for entry in bins)
    if not inside and count and low is not None and high is not None and low <= high:
        return extremes_only(count, low, high, NS_PER_US)
    counted = Counted(bins=bins, min_ns=low, max_ns=high)
    if count < inside:
        counted.notes.append(f"its buckets hold {inside - count} wake-ups more than it counts")
    elif count > inside:
        counted.overflow = count - inside
        counted.notes.append(
            f"{count - inside} of {count} wake-ups are in no bucket: each may be as late as the "
            "latest"
        )
    return counted


def _bin(bucket: Element, where: str) -> tuple[int, int, int]:
    texts = (bucket.get("index", ""), bucket.get("value", ""))
    index, count = whole(texts[0]), count_of(texts[1])
    if index is None or not 0 <= index <= MAX_NS // NS_PER_US or count is None:
        why = f"a bucket has index {_short(texts[0])!r} and value {_short(texts[1])!r}"
        raise refuse(where, None, why, DAMAGED)
    return (index * NS_PER_US, (index + 1) * NS_PER_US - 1, count)


def _time(element: Element, name: str, where: str) -> int | None:
    found = element.find(f"statistics/{name}")
    if found is None:
        return None
    text = (found.text or "").strip()
    value = scaled(text, NS_PER_US)
    if value is None or found.get("unit", "us") != "us":
        why = f"<{name}> is {_short(text)!r} {_short(found.get('unit', ''))}"
        raise refuse(where, None, why, DAMAGED)
    return value


def _forget_maximum(counted: Counted) -> None:
    """The maximum in the file is that of the buckets."""
    counted.max_ns = None


def _beyond(counted: Counted) -> bool:
    """Add the latest wake-up if it lies beyond the buckets; others may lie there, too."""
    highest = max((entry[1] for entry in counted.bins if entry[2]), default=None)
    high = counted.max_ns
    if highest is None or high is None or high <= highest or counted.overflow:
        return False
    counted.overflow, counted.overflow_from_ns = 1, high
    counted.notes.append(
        f"its maximum, {high // NS_PER_US} us, is in no bucket: how many wake-ups were as late is "
        "not known"
    )
    return True


def _series_facts(measurement: _Measurement, element: Element, cpu: str) -> dict[str, str]:
    facts = {"cpu": cpu, "command": _short(measurement.command, 500)}
    if priority := element.get("priority"):
        facts["priority"] = _short(priority)
    if measurement.tool == "timerlat" and measurement.period_ns:
        facts["period_us"] = str(measurement.period_ns // NS_PER_US)
    return facts


def _facts(root: Element) -> dict[str, str]:
    found = {name: root.findtext(path, "").strip() for name, path in _FACTS.items()}
    facts = {name: _short(text, 2000) for name, text in found.items() if text}
    kernel = root.find("SystemInfo/uname/kernel")
    if kernel is not None and kernel.get("is_RT"):
        facts["realtime_kernel"] = "yes" if kernel.get("is_RT") == "1" else "no"
    for source in root.iterfind("SystemInfo/Kernel/ClockSource/source"):
        if source.get("current") == "1":
            facts["clocksource"] = _short((source.text or "").strip())
    for load in list(root.iterfind("loads/command_line"))[:100]:
        started = "started" if load.get("run") == "1" else "not started"
        facts[f"load {_short(load.get('name', '?'))}"] = started
    return facts


def _duration_s(root: Element) -> int:
    info = root.find("run_info")
    if info is None:
        return 0
    scales = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
    parts = [(scaled(info.get(name, ""), 1) or 0) * scale for name, scale in scales.items()]
    return max(0, sum(parts))


def _notes(
    root: Element, measurements: list[_Measurement], series: tuple[Series, ...]
) -> tuple[str, ...]:
    notes = []
    if root.find("loads/command_line") is not None:
        notes.append(_LOADS_NOTE)
    if any(each.tool == "timerlat" for each in measurements):
        notes.append(
            f"rteval writes timerlat's histogram with {_MIXED}: three entries per period; and "
            "without what was beyond the last bucket, so its maximum is not known"
        )
    notes.extend(_stops(measurements))
    period_ns = max((each.period_ns for each in series), default=0)
    duration_s = _duration_s(root)
    if period_ns and duration_s:
        fewest = min(each.histogram.total for each in series if each.period_ns)
        notes.append(
            f"cyclictest leaves out the periods that it misses: in {duration_s} s, starting and "
            f"stopping included, there are {duration_s * NS_PER_S // period_ns} periods, the "
            f"shortest series has {fewest} wake-ups"
        )
    return tuple(notes)


def _stops(measurements: list[_Measurement]) -> Iterator[str]:
    """Measurements that a latency ended, or that have no statistics."""
    for measurement in measurements:
        found = measurement.element.find("abort_report/breaktrace")
        if found is not None:
            limit, value = (
                _short(found.get(name, "?")) for name in ("latency_threshold", "measured_latency")
            )
            yield f"{measurement.tool} stopped at {value} us, above its limit of {limit} us"
        if measurement.element.find("stoptrace_report") is not None:
            yield f"{measurement.tool} stopped at a latency above its limit"
        if measurement.element.find("core") is None:
            yield f"{measurement.tool} has no results per CPU"


def _nothing(measurements: list[_Measurement], place: str) -> Exception:
    if not measurements:
        why = "it has no results of cyclictest or timerlat"
        return refuse(place, None, why, "import reports of rteval that measured one of them")
    reasons = "; ".join(_stops(measurements))
    return refuse(
        place,
        None,
        f"rteval left out all statistics: {reasons}",
        "it does so if a latency was beyond the last bucket or stopped the trace: measure with "
        "more buckets, e.g. --cyclictest-buckets=100000, and without a limit",
    )


def _short(text: str, most: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."


IMPORTER: Final = Importer(
    name="rteval",
    what="summary.xml of rteval: cyclictest or timerlat; one series per CPU",
    matches=matches,
    read=read,
)
