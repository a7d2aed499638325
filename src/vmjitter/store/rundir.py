"""The run directory while it is being written.

Used by the measuring half, hence standard library only.  Whatever happens to vmjitter, what it
has written can be read: records are appended without a buffer of ours, and every other file
is replaced as a whole.  The files are described in docs/reference/run-directory.md.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from vmjitter.errors import UsageError
from vmjitter.model.run import RunInfo, TrialStatus
from vmjitter.store.atomic import write_text, writing

PLAN_FILE: Final = "plan.toml"
RUN_FILE: Final = "run.json"
TRIALS_DIR: Final = "trials"
FIGURES_DIR: Final = "figures"
REPORT_FILE: Final = "report.html"
STATUS_FILE: Final = "status.json"
RAW_SAMPLES_FILE: Final = "samples.raw"
RAW_LOADS_FILE: Final = "loads.csv"
CONSOLE_LOG_FILE: Final = "console.log"
QEMU_LOG_FILE: Final = "qemu.log"

HEADER_BYTES: Final = 64
RECORD_BYTES: Final = 16
LOADS_HEADER: Final = ("load", "side", "second_ns", "ops")


class RunWriter:
    """A run directory that is being filled; see `create`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, info: RunInfo, plan_toml: str) -> Self:
        """Make a new run directory with its plan and its head.

        Raises:
            UsageError: there is something at ``path`` already.
            DataError: it cannot be written.
        """
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise UsageError(
                f"{path} exists and is not an empty directory",
                hint="choose another place with --output; runs are never overwritten",
            )
        with writing(path):
            (path / TRIALS_DIR).mkdir(parents=True)
        writer = cls(path)
        write_text(path / PLAN_FILE, plan_toml)
        writer.write_info(info)
        return writer

    def write_info(self, info: RunInfo) -> None:
        """Replace ``run.json``.

        Raises:
            DataError: it cannot be written.
        """
        write_text(self.path / RUN_FILE, to_json(info))

    def start_trial(self, index: int, status: TrialStatus) -> TrialWriter:
        """Make the directory of a trial, with its first status.

        Args:
            index: number of the trial in the run, from 1.
            status: gives the directory its name, too.

        Raises:
            UsageError: the scenario's name cannot be part of a directory's name.
            DataError: it cannot be written.
        """
        if not status.scenario or "/" in status.scenario or not status.scenario.isprintable():
            raise UsageError(
                f"{status.scenario!r} cannot be the name of a scenario",
                hint="use letters, digits and dashes",
            )
        path = self.path / TRIALS_DIR / f"{index:02}-{status.scenario}"
        with writing(path):
            path.mkdir()
        trial = TrialWriter(path)
        trial.write_status(status)
        return trial


class TrialWriter:
    """The directory of one trial; close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._samples_path = path / RAW_SAMPLES_FILE
        self._samples = -1
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def console_log(self) -> Path:
        """Where the output of the guest's console belongs."""
        return self.path / CONSOLE_LOG_FILE

    @property
    def qemu_log(self) -> Path:
        """Where QEMU's own output belongs."""
        return self.path / QEMU_LOG_FILE

    def begin_samples(self, header: bytes) -> None:
        """Start the stream of samples with ``struct vmj_stream_header``.

        Raises:
            ValueError: a header of another size, or a stream that was begun before.
            DataError: it cannot be written.
        """
        _check_header(header)
        if self._samples >= 0:
            raise ValueError("the stream has begun already")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with writing(self._samples_path):
            self._samples = os.open(self._samples_path, flags, 0o644)
        self._append(header)

    def append_samples(self, records: bytes) -> None:
        """Append whole records, in the order of their activations.

        Raises:
            ValueError: part of a record, or no `begin_samples` before.
            DataError: the disk is full or the like; the records before stay readable.
        """
        if self._samples < 0 or len(records) % RECORD_BYTES:
            raise ValueError("whole records after begin_samples only")
        self._append(records)

    def update_samples_header(self, header: bytes) -> None:
        """Replace the header of the stream, once the TSC's frequency is known.

        Raises:
            ValueError: a header of another size, or no `begin_samples` before.
            DataError: it cannot be written.
        """
        _check_header(header)
        if self._samples < 0:
            raise ValueError("no stream has begun")
        with writing(self._samples_path):
            os.pwrite(self._samples, header, 0)

    def write_loads(self, rows: Iterable[tuple[str, str, int, int]]) -> None:
        """Replace ``loads.csv``: load, side, guest clock at the second's start, operations.

        Raises:
            DataError: it cannot be written.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(LOADS_HEADER)
        table.writerows(rows)
        write_text(self.path / RAW_LOADS_FILE, text.getvalue())

    def write_status(self, status: TrialStatus) -> None:
        """Replace ``status.json``.

        Raises:
            DataError: it cannot be written; the status before is unchanged.
        """
        write_text(self.path / STATUS_FILE, to_json(status))

    def close(self) -> None:
        """Bring the samples to the disk.  Safe to call twice.

        Raises:
            DataError: the disk failed.
        """
        if self._samples < 0:
            return
        descriptor, self._samples = self._samples, -1
        with writing(self._samples_path):
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _append(self, data: bytes) -> None:
        """Write all of ``data``, or leave the file as it was before."""
        rest = memoryview(data)
        with writing(self._samples_path):
            try:
                while rest:
                    rest = rest[os.write(self._samples, rest) :]
            except OSError:
                # A later attempt must not continue in the middle of a record.
                os.ftruncate(self._samples, self._end)
                os.lseek(self._samples, self._end, os.SEEK_SET)
                raise
        self._end += len(data)


def to_json(record: RunInfo | TrialStatus) -> str:
    """Show a record as the text of its JSON file."""
    return json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False) + "\n"


def _check_header(header: bytes) -> None:
    if len(header) != HEADER_BYTES:
        raise ValueError(f"a stream header has {HEADER_BYTES} bytes, not {len(header)}")
