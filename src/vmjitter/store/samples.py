"""Samples and loads of a trial: the raw files of the measurement and the sealed Parquet files."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vmjitter.errors import DataError
from vmjitter.guest.layout import MISSED, RECORD_BYTES, STREAM_MAGIC, VERSION, StreamHeader
from vmjitter.store.rundir import LOADS_HEADER, RAW_LOADS_FILE, RAW_SAMPLES_FILE

SAMPLES_FILE: Final = "samples.parquet"
LOADS_FILE: Final = "loads.parquet"
PARQUET_FORMAT: Final = 1
ROW_GROUP_ROWS: Final = 1 << 20
LONG_ROWS: Final = 1 << 24
"""A trial with more activations than this is read chunk by chunk."""

CLOCKS: Final = {0: "CLOCK_REALTIME", 1: "CLOCK_MONOTONIC", 4: "CLOCK_MONOTONIC_RAW"}

Int64s = NDArray[np.int64]
Uint64s = NDArray[np.uint64]

_HEADER_BYTES: Final = ctypes.sizeof(StreamHeader)
_RECORD: Final = np.dtype([("latency_ns", "<i8"), ("tsc", "<u8")])
_SAMPLES_COLUMNS: Final[dict[str, pa.DataType]] = {"latency_ns": pa.int64(), "tsc": pa.uint64()}
_LOADS_COLUMNS: Final[dict[str, pa.DataType]] = {
    "load": pa.string(),
    "side": pa.string(),
    "second_ns": pa.int64(),
    "ops": pa.int64(),
}
_SAMPLES_SCHEMA: Final = pa.schema(_SAMPLES_COLUMNS)
_LOADS_SCHEMA: Final = pa.schema(_LOADS_COLUMNS)
_DAMAGED: Final = "the file is damaged: restore it from a copy of the run"


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleArrays:
    """The activations of a trial, in order, and what places them in time.

    Attributes:
        latency_ns: actual minus planned wake-up; `MISSED` for a missed activation.
        tsc: time stamp counter at wake-up; 0 for a missed activation and without a TSC.
        t0_ns: activation k was planned for t0_ns + k * period_ns on ``clock``.
        tsc_hz: 0 if not known.
        loops: activations that were planned; 0 if not known.
    """

    latency_ns: Int64s
    tsc: Uint64s
    period_ns: int
    t0_ns: int
    tsc_hz: int
    loops: int
    clock: str

    @property
    def count(self) -> int:
        """Activations that are stored."""
        return len(self.latency_ns)

    def chunks(self) -> Iterator[Int64s]:
        """The latencies, a million at a time."""
        for start in range(0, self.count, ROW_GROUP_ROWS):
            yield self.latency_ns[start : start + ROW_GROUP_ROWS]


@dataclass(frozen=True, kw_only=True, eq=False)
class LongSamples:
    """Sealed samples of a trial that is too long to be in memory without need.

    The attributes are those of `SampleArrays`; ``latency_ns`` and ``tsc`` are read when they are
    asked for, `chunks` reads one after the other.
    """

    file: Path
    count: int
    period_ns: int
    t0_ns: int
    tsc_hz: int
    loops: int
    clock: str

    @cached_property
    def _arrays(self) -> SampleArrays:
        return read_parquet_samples(self.file)

    @property
    def latency_ns(self) -> Int64s:
        """See `SampleArrays`.

        Raises:
            DataError: the file cannot be read.
        """
        return self._arrays.latency_ns

    @property
    def tsc(self) -> Uint64s:
        """See `SampleArrays`.

        Raises:
            DataError: the file cannot be read.
        """
        return self._arrays.tsc

    def chunks(self) -> Iterator[Int64s]:
        """The latencies, a million at a time.

        Raises:
            DataError: the file cannot be read.
        """
        with (
            _reading(self.file),
            pq.ParquetFile(self.file, memory_map=True, page_checksum_verification=True) as source,
        ):
            for batch in source.iter_batches(batch_size=ROW_GROUP_ROWS, columns=["latency_ns"]):
                yield _latencies(batch.column(0))


Samples = SampleArrays | LongSamples


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadSeries:
    """Operations of one load in each second; ``second_ns`` is the guest clock at its start."""

    name: str
    side: str
    second_ns: Int64s
    ops: Int64s


def no_samples() -> SampleArrays:
    """The samples of a trial that has none."""
    return SampleArrays(
        latency_ns=np.empty(0, np.int64),
        tsc=np.empty(0, np.uint64),
        period_ns=0,
        t0_ns=0,
        tsc_hz=0,
        loops=0,
        clock="",
    )


def read_samples(trial: Path, notes: list[str]) -> Samples:
    """Read the samples of a trial directory, sealed or raw; ``notes`` gets what was strange.

    Raises:
        DataError: there are samples, but they cannot be read.
    """
    sealed, raw = trial / SAMPLES_FILE, trial / RAW_SAMPLES_FILE
    if sealed.exists():
        try:
            return open_parquet_samples(sealed)
        except DataError as error:
            if not raw.exists():
                raise
            notes.append(f"{error.message}; {raw.name} is used instead")
    if raw.exists():
        return read_raw_samples(raw, notes)
    notes.append(f"{trial} holds no samples")
    return no_samples()


def read_raw_samples(file: Path, notes: list[str]) -> SampleArrays:
    """Map a raw stream into memory; what was cut off or never written at the end is left out.

    Raises:
        DataError: it cannot be read, or is not such a stream.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEADER_BYTES)
            size = stream.seek(0, 2)
        if size < _HEADER_BYTES:
            notes.append(f"{file} ends within its header: it holds no samples")
            return no_samples()
        header = _header(head, file)
        count, rest = divmod(size - _HEADER_BYTES, RECORD_BYTES)
        if rest:
            notes.append(f"{file} ends within a record: its last {rest} bytes are left out")
        records = _without_empty_tail(_map_records(file, count), file, notes)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}", hint=_DAMAGED) from error
    return SampleArrays(
        latency_ns=records["latency_ns"],
        tsc=records["tsc"],
        period_ns=header.period_ns,
        t0_ns=header.t0_ns,
        tsc_hz=header.tsc_hz,
        loops=header.loops,
        clock=CLOCKS.get(header.clock_id, str(header.clock_id)),
    )


def _header(data: bytes, file: Path) -> StreamHeader:
    header = StreamHeader.from_buffer_copy(data)
    if data[: len(STREAM_MAGIC)] != STREAM_MAGIC:
        raise DataError(f"{file} is not a stream of samples: wrong magic", hint=_DAMAGED)
    if header.version != VERSION:
        raise DataError(
            f"{file} has version {header.version}, this vmjitter reads version {VERSION}",
            hint="read it with the vmjitter that measured it, or a newer one",
        )
    if (header.header_bytes, header.record_bytes) != (_HEADER_BYTES, RECORD_BYTES):
        raise DataError(f"{file} has a header with wrong sizes", hint=_DAMAGED)
    return header


def _without_empty_tail(
    records: NDArray[np.void], file: Path, notes: list[str]
) -> NDArray[np.void]:
    """A file system may lengthen a file before it writes to it: after a power failure, zeros.

    Where there is a time stamp counter, a record of the probe is never all zeros.
    """
    latency, tsc = records["latency_ns"], records["tsc"]
    if not len(records) or not tsc[0] or tsc[-1] or latency[-1]:
        return records
    end = int(np.flatnonzero((tsc != 0) | (latency != 0))[-1]) + 1
    notes.append(f"{file} ends in {len(records) - end} empty records: they are left out")
    return records[:end]


def _map_records(file: Path, count: int) -> NDArray[np.void]:
    if count == 0:  # an empty mapping is an error
        return np.empty(0, _RECORD)
    return np.asarray(np.memmap(file, _RECORD, mode="r", offset=_HEADER_BYTES, shape=(count,)))


def write_parquet_samples(file: Path, samples: SampleArrays, about: dict[str, str]) -> None:
    """Write samples as Parquet; ``about`` is added to the metadata.

    Row groups of about a million rows, so that their statistics find the late wake-ups without
    reading the rest.  The TSC grows steadily, so its differences take half the room of its
    values; differences of latencies would take more.  Every reader knows both encodings.
    """
    metadata = {
        "format": str(PARQUET_FORMAT),
        "period_ns": str(samples.period_ns),
        "t0_ns": str(samples.t0_ns),
        "clock": samples.clock,
        "tsc_hz": str(samples.tsc_hz),
        "loops": str(samples.loops),
        **about,
    }
    schema = _SAMPLES_SCHEMA.with_metadata(metadata)
    with pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"tsc": "DELTA_BINARY_PACKED"},
        write_page_checksum=True,
    ) as writer:
        for start in range(0, max(len(samples.latency_ns), 1), ROW_GROUP_ROWS):
            latency = np.ascontiguousarray(samples.latency_ns[start : start + ROW_GROUP_ROWS])
            tsc = np.ascontiguousarray(samples.tsc[start : start + ROW_GROUP_ROWS])
            columns = [
                pa.array(latency, mask=latency == MISSED),
                pa.array(tsc, mask=tsc == 0),
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=ROW_GROUP_ROWS)


def open_parquet_samples(file: Path) -> Samples:
    """Read sealed samples, or only their head if they are many.

    Raises:
        DataError: it cannot be read, or is not such a file.
    """
    with _reading(file), pq.ParquetFile(file, memory_map=True) as source:
        count = source.metadata.num_rows
        about = _metadata(source.schema_arrow, _SAMPLES_SCHEMA, file)
        if count > LONG_ROWS:
            return LongSamples(file=file, count=count, clock=about["clock"], **_numbers(about))
    return read_parquet_samples(file)


def read_parquet_samples(file: Path) -> SampleArrays:
    """Read sealed samples.

    Raises:
        DataError: it cannot be read, or is not such a file.
    """
    with _reading(file):
        with pq.ParquetFile(file, memory_map=True, page_checksum_verification=True) as source:
            about = _metadata(source.schema_arrow, _SAMPLES_SCHEMA, file)
            latency, tsc = _columns(source)
        return SampleArrays(latency_ns=latency, tsc=tsc, clock=about["clock"], **_numbers(about))


def _numbers(about: dict[str, str]) -> dict[str, int]:
    return {name: int(about[name]) for name in ("period_ns", "t0_ns", "tsc_hz", "loops")}


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{file} cannot be read: {_first_line(error)}", hint=_DAMAGED) from error


def _metadata(found: pa.Schema, wanted: pa.Schema, file: Path) -> dict[str, str]:
    about = {key.decode(): value.decode() for key, value in (found.metadata or {}).items()}
    if about.get("format") != str(PARQUET_FORMAT):
        raise DataError(
            f"{file} has format {about.get('format')!r}, this vmjitter reads {PARQUET_FORMAT}",
            hint="read it with the vmjitter that measured it, or a newer one",
        )
    if not found.equals(wanted):
        raise DataError(f"{file} has other columns than vmjitter writes", hint=_DAMAGED)
    return about


def _columns(source: pq.ParquetFile) -> tuple[Int64s, Uint64s]:
    """Read batch by batch, so that a long trial is in memory only once."""
    count = source.metadata.num_rows
    latency, tsc = np.empty(count, np.int64), np.empty(count, np.uint64)
    start = 0
    for batch in source.iter_batches(batch_size=ROW_GROUP_ROWS):
        end = start + batch.num_rows
        latency[start:end] = _latencies(batch.column(0))
        tsc[start:end] = batch.column(1).fill_null(0).to_numpy(zero_copy_only=False)
        start = end
    return latency, tsc


def _latencies(column: pa.Array[Any]) -> Int64s:
    if not column.null_count:
        return column.to_numpy()
    return column.fill_null(MISSED).to_numpy()


def read_loads(trial: Path) -> tuple[LoadSeries, ...]:
    """Read the loads of a trial directory, sealed or raw; none if there is no such file.

    Raises:
        DataError: the file cannot be read.
    """
    sealed, raw = trial / LOADS_FILE, trial / RAW_LOADS_FILE
    if sealed.exists():
        return _group(read_parquet_loads(sealed))
    return _group(read_csv_loads(raw)) if raw.exists() else ()


LoadRow = tuple[str, str, int, int]


def read_csv_loads(file: Path) -> list[LoadRow]:
    """Read ``loads.csv``.

    Raises:
        DataError: it cannot be read, or a line is not as it should be.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return _parse_loads(csv.reader(stream, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {_first_line(error)}", hint=_DAMAGED) from error


def _parse_loads(lines: Iterator[list[str]]) -> list[LoadRow]:
    if tuple(next(lines, ())) != LOADS_HEADER:
        raise ValueError("its first line is not that of such a file")
    return [(load, side, int(second), int(ops)) for load, side, second, ops in lines]


def write_parquet_loads(file: Path, rows: Sequence[LoadRow]) -> None:
    """Write ``loads.parquet``."""
    schema = _LOADS_SCHEMA.with_metadata({"format": str(PARQUET_FORMAT)})
    columns = [
        pa.array([row[place] for row in rows], field.type) for place, field in enumerate(schema)
    ]
    table = pa.table(columns, schema=schema)
    pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_parquet_loads(file: Path) -> list[LoadRow]:
    """Read ``loads.parquet``.

    Raises:
        DataError: it cannot be read, or is not such a file.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as source:
            _metadata(source.schema_arrow, _LOADS_SCHEMA, file)
            columns = source.read().to_pydict()
        return list(zip(*(columns[name] for name in LOADS_HEADER), strict=True))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {_first_line(error)}", hint=_DAMAGED) from error


def _group(rows: Iterable[LoadRow]) -> tuple[LoadSeries, ...]:
    series: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for load, side, second_ns, ops in rows:
        series.setdefault((load, side), []).append((second_ns, ops))
    return tuple(
        LoadSeries(
            name=load,
            side=side,
            second_ns=np.array([second_ns for second_ns, _ in points], np.int64),
            ops=np.array([ops for _, ops in points], np.int64),
        )
        for (load, side), points in series.items()
    )


def conditions_text(conditions: Iterable[str]) -> str:
    """Conditions as one metadata value: a JSON array."""
    return json.dumps(list(conditions), ensure_ascii=False)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
