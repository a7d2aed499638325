"""What a sample costs at rest: bytes per column and in total, and what other encodings would cost.

Run it from the repository's root:

    .venv/bin/python -m benchmarks.bytes_at_rest runs/20260131-142530-paper
    src/vmjitter/_native/probe-x86_64 -l 240000 -q --raw /tmp/quiet.raw
    .venv/bin/python -m benchmarks.bytes_at_rest --alternatives /tmp/quiet.raw

docs/method/performance.md has the method and figures.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.common import Row, parser, scratch, show
from numpy.typing import NDArray

from vmjitter.guest.layout import MISSED
from vmjitter.store.reader import is_run, trial_directories
from vmjitter.store.samples import (
    ROW_GROUP_ROWS,
    SAMPLES_FILE,
    SampleArrays,
    read_parquet_samples,
    read_raw_samples,
    write_parquet_samples,
)

Int64s = NDArray[np.int64]

AIM: Final = 2.0
_NS_PER_S: Final = 1_000_000_000
_ENCODINGS: Final = ("PLAIN", "dictionary", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")
_COMPRESSIONS: Final[tuple[tuple[str, int | None], ...]] = (
    ("none", None),
    ("lz4", None),
    ("zstd", 1),
    ("zstd", 3),
    ("zstd", 9),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 whatever the figures are."""
    made = parser("Bytes per sample at rest.")
    made.add_argument("source", nargs="+", type=Path, help="run, samples.parquet or a raw stream")
    made.add_argument("--alternatives", action="store_true", help="also try other encodings")
    got = made.parse_args(arguments)
    tables: dict[str, Sequence[Row]] = {}
    with scratch() as directory:
        files = [file for source in got.source for file in _files(source, directory)]
        tables["bytes per sample, as stored"] = [stored(file) for file in files]
        if got.alternatives:
            for file in files:
                tables[f"bytes per sample, {file}"] = alternatives(read_parquet_samples(file))
    show({"pyarrow": pa.__version__, "aim": f"under {AIM:g} in total"}, tables, as_json=got.json)
    return 0


def _files(source: Path, directory: Path) -> Iterator[Path]:
    """The Parquet files of a source; a raw stream is sealed first, as the end of a run does."""
    if is_run(source):
        trials = (trial / SAMPLES_FILE for trial in trial_directories(source))
        yield from (file for file in trials if file.exists())
    elif source.suffix == ".parquet":
        yield source
    else:
        file = directory / f"{source.stem}.parquet"
        write_parquet_samples(file, read_raw_samples(source, []), {})
        yield file


def stored(file: Path) -> Row:
    """What each column of a file takes; the rest are schema, page headers' indexes and footer."""
    about = pq.read_metadata(file)
    columns: Counter[str] = Counter()
    for group in range(about.num_row_groups):
        for place in range(about.num_columns):
            column = about.row_group(group).column(place)
            columns[column.path_in_schema] += column.total_compressed_size
    rows = max(1, about.num_rows)
    size = file.stat().st_size
    return {
        "file": str(file),
        "samples": about.num_rows,
        **{name: taken / rows for name, taken in columns.items()},
        "rest": (size - columns.total()) / rows,
        "total": size / rows,
    }


def alternatives(samples: SampleArrays) -> list[Row]:
    """Each column by each encoding and compression, and the limit for a code without a memory."""
    latency, tsc = np.array(samples.latency_ns), np.array(samples.tsc)
    missed = latency == MISSED
    tables: list[tuple[str, Int64s | NDArray[np.uint64], NDArray[np.bool_]]] = [
        ("latency_ns", latency, missed),
        ("tsc", tsc, tsc == 0),
    ]
    if samples.tsc_hz:
        gone = missed | (tsc == 0)
        left = residual(samples)
        tables += [("residual", left, gone), ("residual, differences", _steps(left, ~gone), gone)]
    return [row for name, values, absent in tables for row in _by_encoding(name, values, absent)]


def residual(samples: SampleArrays) -> Int64s:
    """What the TSC says beyond the latency: its distance from the place that the latency has.

    That place is (k * period + latency) * tsc_hz, in whole ticks, from the first one on.  What is
    left is the time between the reading of the clock and that of the counter, and how far the
    kernel's clock is steered.  Modulo 2^64, so that it can be undone whatever the values are.
    """
    latency, tsc = np.array(samples.latency_ns), np.array(samples.tsc)
    since_ns = np.arange(len(latency), dtype=np.int64) * samples.period_ns + latency
    whole, rest = np.divmod(since_ns, _NS_PER_S)
    left = tsc.view(np.int64) - whole * samples.tsc_hz - rest * samples.tsc_hz // _NS_PER_S
    there = (latency != MISSED) & (tsc != 0)
    result: Int64s = np.where(there, left - left[there.argmax()], 0)
    return result


def _steps(values: Int64s, there: NDArray[np.bool_]) -> Int64s:
    steps = np.zeros(len(values), np.int64)
    steps[there] = np.diff(values[there], prepend=0)
    return steps


def _by_encoding(
    name: str, values: Int64s | NDArray[np.uint64], absent: NDArray[np.bool_]
) -> Iterator[Row]:
    limit = _entropy(values[~absent])
    for encoding in _ENCODINGS:
        sizes = {
            f"{kind} {level or ''}".strip(): _size(values, absent, encoding, kind, level)
            for kind, level in _COMPRESSIONS
        }
        yield {"column": name, "encoding": encoding, **sizes, "entropy": limit}


def _size(
    values: Int64s | NDArray[np.uint64],
    absent: NDArray[np.bool_],
    encoding: str,
    compression: str,
    level: int | None,
) -> float:
    """Bytes per sample of one column."""
    table = pa.table({"x": pa.array(values, mask=absent)})
    file = io.BytesIO()
    dictionary = encoding == "dictionary"
    pq.write_table(
        table,
        file,
        row_group_size=ROW_GROUP_ROWS,
        compression=compression,  # type: ignore[arg-type]
        compression_level=level,
        use_dictionary=dictionary,
        column_encoding=None if dictionary else {"x": encoding},
        write_page_checksum=True,
    )
    about = pq.read_metadata(file)
    groups = (about.row_group(group).column(0) for group in range(about.num_row_groups))
    return sum(group.total_compressed_size for group in groups) / max(1, len(values))


def _entropy(values: Int64s | NDArray[np.uint64]) -> float:
    """Bytes per value that a code needs which knows how often each value is, and nothing else."""
    _, counts = np.unique(values, return_counts=True)
    shares = counts / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum() / 8)


if __name__ == "__main__":
    sys.exit(main())
