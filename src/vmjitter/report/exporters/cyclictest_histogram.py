"""The histogram text of ``cyclictest --histogram``, as plot scripts for it read it.

Layout as before rt-tests 2.7: every bucket from 0, empty ones too, and a line of totals; separators
are one blank, then tabs.  That is what the widespread recipe of OSADL ("Create a latency plot from
cyclictest histogram data") and scripts after it expect.  One trial is one column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from vmjitter.errors import DataError, UsageError
from vmjitter.report.exporters.base import Exporter, Material, text
from vmjitter.report.exporters.buckets import NEGATIVE_NOTE, Buckets, buckets_of
from vmjitter.report.exporters.words import comments, slug
from vmjitter.report.result import TrialResult
from vmjitter.units import NS_PER_US

DEFAULT_MAX_US: Final = 1_000_000
"""Without a number from the user no more buckets are written; cyclictest has the same limit."""


def _render(material: Material) -> Iterator[str]:
    trials = [trial for trial in material.result.trials if trial.trial.digest.histogram.total]
    if not trials:
        raise DataError(
            "there is no wake-up to count",
            hint="choose a trial that has some: vmjitter report RUN",
        )
    columns = [buckets_of(trial.trial.digest.histogram) for trial in trials]
    size = _size(columns, material.histogram_max_us)
    yield from _head(material, trials, columns)
    tables = [column.dense(size) for column in columns]
    for value, counts in enumerate(zip(*(table.tolist() for table in tables), strict=True)):
        yield f"{value:06} " + "\t".join(f"{count:06}" for count in counts) + "\n"
    over = [column.total - int(table.sum()) for column, table in zip(columns, tables, strict=True)]
    # As cyclictest counts: without the overflow.
    yield _row("Total", (int(table.sum()) for table in tables), 9)
    yield _row("Min Latencies", (column.min_us or 0 for column in columns), 5)
    yield _row("Avg Latencies", (int(column.mean_us(0)) for column in columns), 5)
    yield _row("Max Latencies", (_max(column) for column in columns), 5)
    yield _row("Histogram Overflows", over, 5)
    yield "# Histogram Overflow at cycle number:\n"
    for number, trial in enumerate(trials):
        yield f"# Thread {number}:{_cycles(trial, size, over[number])}\n"


def _size(columns: list[Buckets], wanted: int | None) -> int:
    """So many buckets: all that is needed or wanted, but never beyond what the source counted.

    Raises:
        UsageError: the source has no buckets up to the number that is wanted.
    """
    known = min(
        (max(1, column.from_us) for column in columns if column.from_us is not None), default=None
    )
    if wanted is None:
        needed = max(int(column.value_us.max(initial=0)) for column in columns) + 1
        return min(needed, known or needed, DEFAULT_MAX_US)
    if known is not None and wanted > known:
        raise UsageError(
            f"--histogram-max {wanted}: the source counted in buckets up to {known} µs only",
            hint=f"give at most {known}",
        )
    return wanted


def _head(material: Material, trials: list[TrialResult], columns: list[Buckets]) -> Iterator[str]:
    """Our own comments; none of them may look like one of cyclictest's lines."""
    lines = list(comments(material.result))
    for number, (trial, column) in enumerate(zip(trials, columns, strict=True)):
        lines.append(f"column {number + 2}: {slug(trial)}")
        lines += (f"column {number + 2}: {remark}" for remark in _remarks(trial, column))
    shown = {slug(trial) for trial in trials}
    lines += (
        f"no column: {slug(trial)}: it has no wake-up"
        for trial in material.result.trials
        if slug(trial) not in shown
    )
    for line in lines:
        yield f"# vmjitter: {line.replace('Latencies', 'latencies')}\n"
    yield "# Histogram\n"


def _remarks(trial: TrialResult, column: Buckets) -> Iterator[str]:
    histogram = trial.trial.digest.histogram
    if histogram.negative:
        yield f"{NEGATIVE_NOTE}: {histogram.negative}"
    if histogram.resolution_ns > NS_PER_US:
        yield f"counted in bins of up to {histogram.resolution_ns} ns: each is at its lower edge"
    if histogram.overflow:
        yield f"wake-ups of {column.from_us} us or more, not in the mean: {histogram.overflow}"
    if column.max_us is None:
        yield f"the maximum is not known; the line of maxima has the largest known, {_max(column)}"
    if column.min_us is None:
        yield "the minimum is not known; the line of minima has 0"


def _max(column: Buckets) -> int:
    """The maximum, or the largest value that is known to have been reached."""
    if column.max_us is not None:
        return column.max_us
    return column.from_us or int(column.value_us.max(initial=0))


def _row(name: str, values: Iterable[int], digits: int) -> str:
    return f"# {name}: " + " ".join(f"{value:0{digits}}" for value in values) + "\n"


def _cycles(trial: TrialResult, size: int, over: int) -> str:
    """The activations that overflowed, at most as many as there are buckets, as cyclictest."""
    digest = trial.trial.digest
    late = digest.peak_index[digest.peak_ns >= size * NS_PER_US].tolist()[:size]
    shown = "".join(f" {index:05}" for index in late)
    return f"{shown} # {over - len(late):05} others" if over > len(late) else shown or " "


EXPORTER: Final = Exporter(
    name="cyclictest-histogram",
    what="the histogram text of cyclictest, for existing plot scripts",
    suffix=".histogram.txt",
    write=text(_render),
    bounded=True,
)
