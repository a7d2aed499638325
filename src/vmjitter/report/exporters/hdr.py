"""A log of HdrHistograms (``.hlog``), for the tools of that family.

Format: HdrHistogram's HistogramLogWriter, version 1.3, whose lines may begin with a tag; each line
is an interval with its histogram in the V2 encoding, compressed, in base 64.  Unit is the
nanosecond, resolution three significant digits, so a value is at most 0.1 % off; the exact maximum
is in the comments.  The trials follow each other without the pauses between them, because readers
take the intervals to be in order of time; the tag tells which trial it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import numpy as np
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from vmjitter.report.exporters.base import Exporter, Material, overruns_of, rechunk, text
from vmjitter.report.exporters.words import comments, decimal_seconds, slug
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.histogram import MISSED, Histogram, Int64s
from vmjitter.units import NS_PER_MS

MAX_INTERVALS: Final = 3600
"""So many lines has a trial at most: one per second up to an hour, longer intervals beyond."""

DIGITS: Final = 3
"""Significant digits of a stored value."""

_SUB_BUCKET_BITS: Final = 11
"""2048 values of a power of two are told apart: 2 * 10^3, rounded up to a power of two."""
_POWERS: Final = 1 << np.arange(_SUB_BUCKET_BITS, 63, dtype=np.int64)


def _render(material: Material) -> Iterator[str]:
    result = material.result
    begun = _epoch(result.run.info.created_utc)
    yield "#[Histogram log format version 1.3]\n"
    yield f"#[BaseTime: {begun}.000 (seconds since epoch)]\n"
    yield f"#[StartTime: {begun}.000 (seconds since epoch), {result.run.info.created_utc}]\n"
    yield from (f"# {line}\n" for line in comments(result))
    for trial in result.trials:
        yield from (f"# trial {slug(trial)}: {word}\n" for word in _lost(trial))
    yield '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    yield from _intervals(result)


def _epoch(utc: str) -> int:
    """Seconds since 1970; 0 if the time is not known."""
    try:
        return max(0, int(datetime.fromisoformat(utc).timestamp()))
    except ValueError:
        return 0


def _lost(trial: TrialResult) -> Iterator[str]:
    """What such a histogram cannot hold."""
    histogram, overruns = trial.trial.digest.histogram, overruns_of(trial)
    if histogram.negative:
        yield f"in no histogram: wake-ups before their planned time: {histogram.negative}"
    if overruns:
        yield f"in no histogram: missed activations: {overruns}"
    if histogram.overflow:
        yield (
            f"wake-ups of {histogram.overflow_from_ns} ns or more: {histogram.overflow}, each "
            "counted there, but the latest, if it is known"
        )
    if histogram.resolution_ns > 1:
        yield f"bins of up to {histogram.resolution_ns} ns: each is counted at its lower edge"


def _intervals(result: RunResult) -> Iterator[str]:
    highest = max((_highest(trial.trial.digest.histogram) for trial in result.trials), default=2)
    start_ns = 0
    for trial in result.trials:
        digest = trial.trial.digest
        for begin, length, value, count in _parts(trial):
            where_ns = start_ns + begin * digest.period_ns
            fields = (
                f"Tag={slug(trial)}",
                decimal_seconds(where_ns),
                decimal_seconds(length * digest.period_ns),
                _milliseconds(int(value.max())),
                _encoded(value, count, highest),
            )
            yield ",".join(fields) + "\n"
        start_ns += digest.duration_ns


def _highest(histogram: Histogram) -> int:
    lowest = int(histogram.low_ns.max(initial=0))
    return max(2, lowest, histogram.max_ns or 0, histogram.overflow_from_ns)


def _parts(trial: TrialResult) -> Iterator[tuple[int, int, Int64s, Int64s]]:
    """Intervals: first activation, activations, latencies, and how many wake-ups have each."""
    digest = trial.trial.digest
    if not digest.ordered:
        value, count = _known(digest.histogram)
        if len(value):
            yield 0, digest.activations, value, count
        return
    begin, size = 0, digest.blocks.size
    size *= max(1, -(-digest.activations // (size * MAX_INTERVALS)))
    for chunk in rechunk(trial.trial.samples.chunks(), size):
        value, count = np.unique(chunk[(chunk != MISSED) & (chunk >= 0)], return_counts=True)
        if len(value):
            yield begin, len(chunk), value, count
        begin += len(chunk)


def _known(histogram: Histogram) -> tuple[Int64s, Int64s]:
    """The values of a histogram, the overflow at the lower limit that is known of it."""
    value, count = histogram.low_ns, histogram.count
    extra: list[tuple[int, int]] = []
    if histogram.overflow:
        latest = int(histogram.max_ns is not None)
        extra.append((histogram.overflow_from_ns, histogram.overflow - latest))
        extra.append((histogram.max_ns or 0, latest))
    table = np.array([pair for pair in extra if pair[1]], np.int64).reshape(-1, 2)
    value, count = np.append(value, table[:, 0]), np.append(count, table[:, 1])
    return value[value >= 0], count[value >= 0]


def _encoded(value: Int64s, count: Int64s, highest: int) -> str:
    """The histogram of these values; equal ones, as far as it tells them apart, at once."""
    size = np.searchsorted(_POWERS, value, side="right")
    lowest, place = np.unique(value >> size << size, return_inverse=True)
    summed = np.zeros(len(lowest), np.int64)
    np.add.at(summed, place.reshape(-1), count)
    histogram = HdrHistogram(1, highest, DIGITS)
    for low, number in zip(lowest.tolist(), summed.tolist(), strict=True):
        histogram.record_value(low, number)
    return str(histogram.encode(), "ascii")


def _milliseconds(value_ns: int) -> str:
    """The unit that the format has for the maximum of an interval, with all decimals."""
    return f"{value_ns // NS_PER_MS}.{value_ns % NS_PER_MS:06}"


EXPORTER: Final = Exporter(
    name="hdr",
    what="HdrHistogram V2 log: a histogram per interval, tagged with the trial",
    suffix=".hlog",
    write=text(_render),
)
