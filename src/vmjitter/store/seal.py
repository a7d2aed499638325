"""Closing a run: raw files become Parquet, and every file gets its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from vmjitter.errors import DataError
from vmjitter.model.run import TrialState, TrialStatus
from vmjitter.store.atomic import TEMP_SUFFIX, replacing, write_text, writing
from vmjitter.store.reader import read_status, trial_directories
from vmjitter.store.rundir import RAW_LOADS_FILE, RAW_SAMPLES_FILE, STATUS_FILE
from vmjitter.store.samples import (
    LOADS_FILE,
    SAMPLES_FILE,
    LoadRow,
    SampleArrays,
    conditions_text,
    read_csv_loads,
    read_parquet_loads,
    read_parquet_samples,
    read_raw_samples,
    write_parquet_loads,
    write_parquet_samples,
)

CHECKSUMS_FILE: Final = "SHA256SUMS"

_UNFINISHED: Final = (TrialState.PENDING, TrialState.RUNNING)


def seal_run(path: Path) -> None:
    """Turn the raw files of every finished trial into Parquet, then write the checksums.

    A raw file is removed only after its Parquet file was read back and found equal.  A trial
    that is still "running", or whose raw files cannot be read, is left as it is.  Safe to
    repeat, also after a crash in the middle.

    Raises:
        DataError: the disk is full or the like, or what was written does not read back.
    """
    for trial in trial_directories(path):
        _seal_trial(trial)
    with writing(path):
        for leftover in path.rglob(f"*{TEMP_SUFFIX}"):
            leftover.unlink()
    _write_sums(path, {name: _digest(path / name) for name in _files(path)})


def is_sealed(path: Path) -> bool:
    """Whether a run has its checksums."""
    return (path / CHECKSUMS_FILE).exists()


def verify_checksums(path: Path) -> list[str]:
    """Compare a sealed run with its checksums.

    Returns:
        One sentence per file that is missing, changed or not in the list.  A run that was never
        sealed has one: that there are no checksums.
    """
    if not is_sealed(path):
        return [f"{path} has no {CHECKSUMS_FILE}: its measurement did not come to its end"]
    try:
        sums = _read_sums(path)
    except DataError as error:
        return [error.message]
    files = set(_files(path))
    problems = [_compare(path, name, digest) for name, digest in sums.items()]
    problems += [f"{path / name} is not in {CHECKSUMS_FILE}" for name in files - sums.keys()]
    return sorted(filter(None, problems))


def update_checksums(path: Path, changed: Iterable[Path]) -> None:
    """Record the checksums of files that were made after sealing, and of these only.

    Does nothing for a run that was not sealed.

    Raises:
        DataError: the list cannot be read or written.
    """
    if not is_sealed(path):
        return
    sums = _read_sums(path)
    for file in changed:
        sums[file.relative_to(path).as_posix()] = _digest(file)
    _write_sums(path, sums)


def _seal_trial(trial: Path) -> None:
    # What cannot be read stays as it is, for somebody to look at; `read_run` says why.
    try:
        status = read_status(trial / STATUS_FILE)
    except DataError:
        return
    if status.state in _UNFINISHED:
        return
    raw_samples, raw_loads = trial / RAW_SAMPLES_FILE, trial / RAW_LOADS_FILE
    samples = _readable_samples(raw_samples)
    if samples is not None:
        _seal_samples(trial / SAMPLES_FILE, samples, status)
        raw_samples.unlink()
    rows = _readable_loads(raw_loads)
    if rows is not None:
        _seal_loads(trial / LOADS_FILE, rows)
        raw_loads.unlink()


def _readable_samples(raw: Path) -> SampleArrays | None:
    """The samples, or None if there is no complete stream to seal."""
    notes: list[str] = []
    try:
        samples = read_raw_samples(raw, notes)
    except DataError:
        return None
    return samples if samples.period_ns else None


def _readable_loads(raw: Path) -> list[LoadRow] | None:
    try:
        return read_csv_loads(raw)
    except DataError:
        return None


def _seal_samples(file: Path, samples: SampleArrays, status: TrialStatus) -> None:
    about = {
        "scenario": status.scenario,
        "accel": status.accel,
        "conditions": conditions_text(status.conditions),
    }
    with writing(file), replacing(file) as temp:
        write_parquet_samples(temp, samples, about)
        again = read_parquet_samples(temp)
        if not _equal(samples, again):
            raise DataError(f"{file} does not read back as it was written", hint=_BAD_DISK)


def _equal(one: SampleArrays, other: SampleArrays) -> bool:
    return (
        np.array_equal(one.latency_ns, other.latency_ns)
        and np.array_equal(one.tsc, other.tsc)
        and (one.period_ns, one.t0_ns, one.tsc_hz, one.loops, one.clock)
        == (other.period_ns, other.t0_ns, other.tsc_hz, other.loops, other.clock)
    )


def _seal_loads(file: Path, rows: list[LoadRow]) -> None:
    with writing(file), replacing(file) as temp:
        write_parquet_loads(temp, rows)
        if read_parquet_loads(temp) != rows:
            raise DataError(f"{file} does not read back as it was written", hint=_BAD_DISK)


_BAD_DISK: Final = "the raw file is kept; check the disk, then seal the run again"


def _files(path: Path) -> list[str]:
    """Every file of the run except the checksums, relative to it, sorted."""
    names = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return sorted(
        name for name in names if name != CHECKSUMS_FILE and not name.endswith(TEMP_SUFFIX)
    )


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _compare(path: Path, name: str, digest: str) -> str:
    file = path / name
    try:
        return "" if _digest(file) == digest else f"{file} was changed after the measurement"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"


def _write_sums(path: Path, sums: dict[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    write_text(path / CHECKSUMS_FILE, "".join(lines))


def _read_sums(path: Path) -> dict[str, str]:
    file = path / CHECKSUMS_FILE
    try:
        pairs = [line.split("  ", 1) for line in file.read_text(encoding="utf-8").splitlines()]
        return {name: digest for digest, name in pairs}
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read", hint="restore it from a copy") from error
