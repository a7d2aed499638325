"""Parquet: the rows of the CSV with their types, all trials in one file.

One file, because a table that is handed over is one thing; a column tells the trial, and no row
group holds two of them, so a reader that wants one skips the others.  What is known of each trial
is in the metadata under "trials".  Encodings and compression are those of the run directory, which
every reader knows.
"""

from __future__ import annotations

import json
from typing import BinaryIO, Final

import pyarrow.parquet as pq

from vmjitter.report.exporters.base import Exporter, Material
from vmjitter.report.exporters.rows import batches, schema_of
from vmjitter.report.exporters.words import about, machines, origin, plain
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.store import samples

FORMAT: Final = 1
"""Version of the metadata; keys may be added without a new number."""

_COLUMNS: Final = {
    "scenario": "name of the scenario",
    "round": "counts from 1 where a scenario is measured several times, else 0",
    "index": "number of the activation, from 0",
    "planned_ns": "ns: planned wake-up, t0_ns + index * period_ns, on the clock of the trial",
    "latency_ns": "ns: actual minus planned wake-up, signed; null for a missed activation",
    "missed": "the activation passed while the wake-up before it was still late",
    "low_ns": "ns: lowest latency of the bin",
    "high_ns": "ns: highest latency of the bin; null: there is no known limit",
    "count": "wake-ups in the bin",
}
_STEADY: Final = ("index", "planned_ns")


def _write(material: Material, stream: BinaryIO) -> None:
    result = material.result
    schema = schema_of(result).with_metadata(_metadata(result))
    steady = [name for name in _STEADY if name in schema.names]
    with pq.ParquetWriter(
        stream,
        schema,
        compression="zstd",
        use_dictionary=["scenario", "round"],  # type: ignore[arg-type]
        column_encoding=dict.fromkeys(steady, "DELTA_BINARY_PACKED") or None,
        write_page_checksum=True,
    ) as writer:
        for trial in result.trials:
            for batch in batches(trial, samples.ROW_GROUP_ROWS):
                writer.write_batch(batch.cast(schema), row_group_size=samples.ROW_GROUP_ROWS)


def _metadata(result: RunResult) -> dict[str, str]:
    return {
        "format": str(FORMAT),
        "origin": origin(result),
        "columns": _json({name: _COLUMNS[name] for name in schema_of(result).names}),
        "machines": _json(dict(machines(result))),
        "notes": _json([plain(note) for note in result.run.notes]),
        "not_measured": _json(list(result.not_measured)),
        "trials": _json([_trial(trial) for trial in result.trials]),
    }


def _trial(trial: TrialResult) -> dict[str, object]:
    stored = trial.trial.samples
    return {**about(trial), "t0_ns": stored.t0_ns, "clock": stored.clock}


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)


EXPORTER: Final = Exporter(
    name="parquet",
    what="the rows of csv with their types; for pandas, DuckDB, polars, R",
    suffix=".parquet",
    write=_write,
    binary=True,
)
