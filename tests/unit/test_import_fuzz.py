"""Whatever a file holds, an importer gives a sound result or one clear error, in bounded memory."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmjitter.errors import DataError
from vmjitter.guest.layout import MISSED, RECORD_BYTES, STREAM_MAGIC, VERSION, StreamHeader
from vmjitter.report.importers import IMPORTERS
from vmjitter.report.importers.base import Imported, Importer, Series
from vmjitter.stats.histogram import Histogram

GOLDEN = Path(__file__).parents[1] / "golden"
PLACE = "some/file"
HEAD = 1 << 16
MAX_COUNT = 1 << 53
LIMIT_NS = 1 << 62
STILL = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _stream() -> bytes:
    header = StreamHeader()
    header.magic, header.version = STREAM_MAGIC, VERSION
    header.header_bytes, header.record_bytes = len(bytes(header)), RECORD_BYTES
    header.clock_id, header.period_ns = 1, 1_000_000
    records = np.arange(20, dtype=np.int64).tobytes()
    return bytes(header) + records


CSV = b"cpu,index,planned_ns,latency_us,missed\n" + b"".join(
    b"%d,%d,%d,%d.5,false\n" % (place % 2, place, place * 1000, place) for place in range(30)
)


def _seeds() -> dict[str, tuple[bytes, tuple[Importer, ...]]]:
    """Recorded files with the importers that take them for theirs."""
    files = {
        str(path.relative_to(GOLDEN)): path.read_bytes()
        for path in sorted(GOLDEN.glob("*/*"))
        if path.is_file() and path.suffix != ".md" and path.parent.name != "trace"
    }
    files |= {"stream": _stream(), "csv": CSV}
    matching = {
        name: tuple(each for each in IMPORTERS if each.matches(content[:HEAD], name))
        for name, content in files.items()
    }
    return {name: (files[name], found or IMPORTERS) for name, found in matching.items()}


SEEDS = _seeds()
HUGE = (
    b"0", b"-1", b"1000000000", b"1000000000000000000", b"9223372036854775807",
    b"18446744073709551615", b"9" * 50, b"9" * 5000, b"1e308", b"-nan", b"inf", b"0.5", b"",
)  # fmt: skip
Mutation = Callable[[bytes], bytes]


def _cut(share: float) -> Mutation:
    return lambda content: content[: int(len(content) * share)]


def _flip(share: float, byte: int) -> Mutation:
    def flip(content: bytes) -> bytes:
        place = int(len(content) * share)
        return content[:place] + bytes([byte]) + content[place + 1 :]

    return flip


def _repeat(share: float, times: int) -> Mutation:
    """Write a line several times; not at all for 0 times."""

    def repeat(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        place = int(len(lines) * share)
        return b"".join([*lines[:place], *lines[place : place + 1] * times, *lines[place + 1 :]])

    return repeat


def _swap(one: float, other: float) -> Mutation:
    def swap(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        if lines:
            first, second = int(len(lines) * one), int(len(lines) * other)
            lines[first], lines[second] = lines[second], lines[first]
        return b"".join(lines)

    return swap


def _number(share: float, number: bytes) -> Mutation:
    """Replace one of the numbers."""

    def replace(content: bytes) -> bytes:
        found = list(re.finditer(rb"\d+", content))
        if not found:
            return content
        match = found[int(len(found) * share)]
        return content[: match.start()] + number + content[match.end() :]

    return replace


def _insert(share: float, what: bytes) -> Mutation:
    def insert(content: bytes) -> bytes:
        place = int(len(content) * share)
        return content[:place] + what + content[place:]

    return insert


def _by_tool() -> dict[str, list[str]]:
    tools: dict[str, list[str]] = {}
    for name in SEEDS:
        tools.setdefault(name.partition("/")[0], []).append(name)
    return tools


# every tool as often as any other, however many recordings it has
NAMES = st.sampled_from(sorted(_by_tool().values())).flatmap(st.sampled_from)
SHARES = st.floats(0, 1, exclude_max=True)
MUTATIONS: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(_cut, SHARES),
    st.builds(_flip, SHARES, st.integers(0, 255)),
    st.builds(_repeat, SHARES, st.integers(0, 4)),
    st.builds(_swap, SHARES, SHARES),
    st.builds(_number, SHARES, st.sampled_from(HUGE)),
    st.builds(_number, SHARES, st.sampled_from(HUGE)),
    st.builds(_insert, SHARES, st.binary(max_size=20)),
)


def attempt(importer: Importer, content: bytes) -> None:
    """Import; what comes out is sound, or it is an error that names place and remedy."""
    assert importer.matches(content[:HEAD], PLACE) in {True, False}
    try:
        imported = importer.read(content, PLACE)
    except DataError as error:
        refused = error
    else:
        check(imported, len(content))
        return
    assert refused.message.startswith(PLACE)
    assert refused.hint
    assert len(refused.message) < 1000


def check(imported: Imported, size: int) -> None:
    names = [series.name for series in imported.series]
    assert names
    assert len(set(names)) == len(names)
    assert all(len(text) < 2000 for text in (*imported.notes, imported.tool))
    assert all(len(text) <= size for text in imported.facts.values())
    assert sum(len(series.histogram.count) for series in imported.series) <= size
    for series in imported.series:
        check_series(series)


def check_series(series: Series) -> None:
    histogram = series.histogram
    check_histogram(histogram)
    assert 0 <= series.period_ns <= LIMIT_NS
    assert series.overruns is None or 0 <= series.overruns <= MAX_COUNT
    if series.latency_ns is None:
        return
    assert series.latency_ns.dtype == np.int64
    awake = series.latency_ns[series.latency_ns != MISSED]
    assert len(awake) == histogram.total
    if len(awake):
        assert histogram.min_ns == awake.min()
        assert histogram.max_ns == awake.max()


def check_histogram(histogram: Histogram) -> None:
    low, high, count = histogram.low_ns, histogram.high_ns, histogram.count
    assert len(low) == len(high) == len(count)
    assert low.dtype == high.dtype == count.dtype == np.int64
    assert (low <= high).all()
    assert (high[:-1] < low[1:]).all()
    assert (count > 0).all()
    assert histogram.overflow >= 0
    assert histogram.total <= MAX_COUNT
    extremes = [value for value in (histogram.min_ns, histogram.max_ns) if value is not None]
    assert extremes == sorted(extremes)
    assert all(abs(value) <= LIMIT_NS for value in (*extremes, histogram.overflow_from_ns))
    if not histogram.total:
        assert not extremes
        return
    if len(low):
        assert abs(int(low[0])) <= LIMIT_NS
        assert abs(int(high[-1])) <= LIMIT_NS
    late = histogram.late(1000)
    assert 0 <= late.surely <= late.possibly <= histogram.total
    assert histogram.quantile(Fraction(1, 2)) is not None


@pytest.mark.parametrize("name", SEEDS)
def test_recordings_are_sound(name: str) -> None:
    content, importers = SEEDS[name]
    for importer in importers:
        attempt(importer, content)


@settings(STILL, max_examples=800)
@given(name=NAMES, mutations=st.lists(MUTATIONS, min_size=1, max_size=4))
def test_damaged_recordings(name: str, mutations: list[Mutation]) -> None:
    content, importers = SEEDS[name]
    for mutation in mutations:
        content = mutation(content)
    for importer in importers:
        attempt(importer, content)


@settings(STILL, max_examples=150)
@given(st.binary(max_size=300))
def test_random_bytes(content: bytes) -> None:
    for importer in IMPORTERS:
        attempt(importer, content)


@settings(STILL, max_examples=60)
@given(one=NAMES, other=NAMES, share=SHARES)
def test_recordings_of_two_tools_in_one_file(one: str, other: str, share: float) -> None:
    content = _insert(share, SEEDS[other][0])(SEEDS[one][0])
    for importer in (*SEEDS[one][1], *SEEDS[other][1]):
        attempt(importer, content)


CUBE = 10**18
RTLA = "# RTLA timerlat histogram\n# Time unit is microseconds (us)\n"
XML = '<rteval><Measurements><cyclictest command_line="cyclictest -i100">'
THREAD = {"count": 1, "min": 1, "max": 2, "histogram": {"1": 1}}

HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "a line without end": b"1" * 1_000_000,
    "blanks": b" " * 1_000_000,
    "line ends": b"\n" * 5000,
    "zeros": b"\0" * 500_000,
    "commas": b"latency_us\n" + b"," * 1_000_000 + b"\n",
    "columns": b",".join(b"latency_us" for _ in range(50_000)) + b"\n",
    "quotes": b'latency_us\n"' + (b"x" * 50 + b"\n") * 5000,
    "bars": b"RTD|" + b"|" * 200_000 + b"\n",
    "escapes": b"\x1b[" * 50_000,
    "numbers": b"1 " * 100_000 + b"\n",
    "cells of a row": RTLA.encode() + b"Index IRQ-000\n1 " + b"1 " * 100_000 + b"\n",
    "columns of rtla": (
        RTLA + "Index " + " ".join(f"IRQ-{n:03}" for n in range(10_000)) + "\n"
    ).encode(),
    "over": b"over:" + b" 1" * 30_000 + b"x\n",
    "blanks in the analysis": b"timerlat hit stop tracing\nIRQ latency" + b" " * 500_000 + b"x\n",
    "analysis": b"timerlat hit stop tracing\n"
    + b"".join(b"## CPU %d hit stop tracing\n  IRQ latency:  1.00 us\n" % n for n in range(1000)),
    "command": b"rtla timerlat hist " + b"-p 1 " * 20_000 + b"\n",
    "a bin far out": (
        RTLA + f"Index IRQ-000\n{CUBE} 1\nover: 0\ncount: 1\nmin: {CUBE}\navg: 1\nmax: {CUBE}\n"
    ).encode(),
    "more wake-ups than can be": (
        RTLA + f"Index IRQ-000\n1 {CUBE}\nover: {CUBE}\ncount: {CUBE}\n"
    ).encode(),
    "wide buckets": (
        f"$ rtla timerlat hist -b {10**17} -E {10**17} -p {10**17}\n{RTLA}"
        "Index IRQ-000\n1 1\nover: 1\n"
    ).encode(),
    "billions of periods": b"== Sampling period: 1 us\n"
    b"RTS|  1.0|  2.0|  3.0|  40|  0|  999999:00:02/00:00:02\n",
    "bucket far out": b"RTS|  1.0|  2.0|  3.0|  40|  0|  00:00:02/00:00:02\n"
    b"HSD|    avg| 999999999 - 1000000000 |  9999999999999999\n",
    "lists within lists": b'{"cpu":' * 3 + b"[" * 100_000,
    "objects within objects": b'{"file_version":1,"cmdline:":"x","thread":' * 20_000,
    "deep JSON of rt-tests": b'{"file_version":1,"cmdline:":"x","thread":' + b"[" * 100_000,
    "digits in JSON": b'{"cpu": {"0": {"histogram": {}, "count": ' + b"9" * 100_000 + b"}}}",
    "many threads": json.dumps({"cpu": {str(n): THREAD for n in range(10_000)}}).encode(),
    "threads of rt-tests": json.dumps(
        {"file_version": 1, "cmdline": "cyclictest", "thread": {str(n): {} for n in range(10_000)}}
    ).encode(),
    "slot far out": json.dumps({"cpu": {"0": {**THREAD, "histogram": {str(CUBE): 1}}}}).encode(),
    "a billion slots": json.dumps({"cpu": {"0": {**THREAD, "count": 10**15}}}).encode(),
    "elements": b"<rteval>" + b"<a>" * 200_000,
    "attributes": b"<rteval " + b" ".join(b'a%d=""' % n for n in range(20_000)) + b"/>",
    "entities": b'<!DOCTYPE rteval [<!ENTITY a "'
    + b"a" * 1000
    + b'"><!ENTITY b "'
    + b"&a;" * 1000
    + b'">]><rteval>'
    + b"&b;" * 1000
    + b"</rteval>",
    "bucket of rteval": (
        f'{XML}<core id="0"><statistics><samples>{CUBE}</samples></statistics><histogram>'
        f'<bucket index="{CUBE}" value="1"/></histogram></core></cyclictest>'
        "</Measurements></rteval>"
    ).encode(),
    "CPUs of rteval": (
        XML + '<core id="0"/>' * 20_000 + "</cyclictest></Measurements></rteval>"
    ).encode(),
    "samples of many threads": b"".join(
        n.to_bytes(4, "little") + b"\x01" + b"\0" * 23 for n in range(20_000)
    ),
    "times of samples": b"\xff" * 28 * 10_000,
    "stream of extremes": _stream() + b"\xff" * 160 + (b"\x7f" + b"\xff" * 15) * 20,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str) -> None:
    """No importer needs more memory than a multiple of the file, beside the exact histogram."""
    content = HOSTILE[name]
    for importer in IMPORTERS:
        tracemalloc.start()
        try:
            attempt(importer, content)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 50_000_000 + 100 * len(content), importer.name
