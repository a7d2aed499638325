"""Rows for CSV and Parquet: one per activation, or one per bin where only a histogram is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from vmjitter.report.exporters.base import all_ordered, rechunk
from vmjitter.report.exporters.words import plain
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.histogram import MISSED, Int64s

BATCH_ROWS: Final = 1 << 17

_NAMES: Final[dict[str, pa.DataType]] = {"scenario": pa.string(), "round": pa.int32()}
_TIMES: Final = ("index", "planned_ns", "latency_ns")

ACTIVATIONS: Final = pa.schema(
    {**_NAMES, **dict.fromkeys(_TIMES, pa.int64()), "missed": pa.bool_()}
)
"""``planned_ns`` is on the clock of the trial, or counts from activation 0 if there is none."""

BINS: Final = pa.schema({**_NAMES, **dict.fromkeys(("low_ns", "high_ns", "count"), pa.int64())})
"""``high_ns`` is null for the overflow if the maximum is not known."""


def schema_of(result: RunResult) -> pa.Schema:
    """Which rows the trials have.

    Raises:
        UsageError: some have these and some those.
    """
    return ACTIVATIONS if all_ordered(result) else BINS


def batches(trial: TrialResult, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """All rows of a trial, at most so many at a time.

    Raises:
        DataError: its samples cannot be read.
    """
    if not trial.trial.digest.ordered:
        yield _bins(trial)
        return
    first = 0
    for chunk in rechunk(trial.trial.samples.chunks(), rows):
        yield _activations(trial, first, chunk)
        first += len(chunk)


def _activations(trial: TrialResult, first: int, latency_ns: Int64s) -> pa.RecordBatch:
    index = np.arange(first, first + len(latency_ns), dtype=np.int64)
    missed = latency_ns == MISSED
    period_ns = trial.period_ns
    planned_ns = trial.trial.samples.t0_ns + index * period_ns
    columns = [
        *_names(trial, len(index)),
        pa.array(index),
        pa.array(planned_ns) if period_ns else pa.nulls(len(index), pa.int64()),
        pa.array(latency_ns, mask=missed),
        pa.array(missed),
    ]
    return pa.record_batch(columns, schema=ACTIVATIONS)


def _bins(trial: TrialResult) -> pa.RecordBatch:
    histogram = trial.trial.digest.histogram
    low, high, count = (
        array.tolist() for array in (histogram.low_ns, histogram.high_ns, histogram.count)
    )
    if histogram.overflow:
        low.append(histogram.overflow_from_ns)
        high.append(histogram.max_ns)
        count.append(histogram.overflow)
    bins = [pa.array(each, pa.int64()) for each in (low, high, count)]
    return pa.record_batch([*_names(trial, len(low)), *bins], schema=BINS)


def _names(trial: TrialResult, rows: int) -> list[pa.Array[Any]]:
    number = pa.scalar(trial.status.round, pa.int32())
    return [pa.repeat(plain(trial.scenario), rows), pa.repeat(number, rows)]
