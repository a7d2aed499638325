"""The trace directory of a trial, read into what `vmjitter.trace` takes."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa

from vmjitter.errors import DataError
from vmjitter.model.run import TrialStatus
from vmjitter.store.reader import Trial
from vmjitter.trace.clock import SAME, ClockMap, guest_clock, wall_clock
from vmjitter.trace.events import Source
from vmjitter.trace.intervals import Interval, common, union
from vmjitter.trace.meta import NO_TRACE, TraceMeta, parse_meta
from vmjitter.trace.parsers import Parsed
from vmjitter.trace.parsers.ftrace import parse_ftrace
from vmjitter.trace.parsers.proc_csv import Counters, parse_proc_csv
from vmjitter.trace.parsers.qemu_log import parse_qemu_log
from vmjitter.trace.scene import NOTHING, Material

TRACE_DIR: Final = "trace"
META_FILE: Final = "meta.json"
HOST_FILE: Final = "host.txt"
GUEST_FILE: Final = "guest.txt"
QEMU_FILE: Final = "qemu.log"
PROC_FILE: Final = "proc.csv"

_SUFFIXES: Final = ("", ".gz", ".zst")

T = TypeVar("T")


def read_material(trial: Trial, keep: Sequence[Interval], notes: list[str]) -> Material:
    """Read all sources of a trial's trace.

    Args:
        trial: the trial.
        keep: times on the host's clock of which the events are needed.
        notes: gets what was strange.

    What is damaged is read as far as it goes, and said in ``notes``.

    Raises:
        DataError: ``meta.json`` is of a newer format or damaged: without it nothing can be told.
    """
    place = trial.path / TRACE_DIR
    if trial.readable and not place.is_dir():
        notes.append("no trace was recorded")
    meta = _read_meta(place, notes)
    clock = trial_clock(trial.status)
    wanted = {
        Source.HOST: common(keep, meta.kept) if meta.kept else list(keep),
        Source.GUEST: _moved(keep, clock or SAME),
        Source.QEMU: _moved(keep, wall_clock(meta.realtime) or SAME),
    }

    def kernel(source: Source) -> Callable[[Iterator[str]], Parsed]:
        return lambda lines: parse_ftrace(lines, source, wanted[source])

    host = _read(place, HOST_FILE, kernel(Source.HOST), notes)
    guest = _read(place, GUEST_FILE, kernel(Source.GUEST), notes)
    qemu = _read(place, QEMU_FILE, lambda lines: parse_qemu_log(lines, wanted[Source.QEMU]), notes)
    counters = _read(place, PROC_FILE, parse_proc_csv, notes)
    for file, parsed in ((HOST_FILE, host), (GUEST_FILE, guest), (QEMU_FILE, qemu)):
        if parsed is not None:
            _note_damage(file, parsed, notes)
    return Material(
        meta=meta,
        host=host or NOTHING,
        guest=guest or NOTHING,
        qemu=qemu or NOTHING,
        counters=counters or Counters(),
        guest_clock=clock,
        vcpu=_vcpu(trial.status),
        in_guest=trial.status.where != "host",
    )


def _moved(keep: Sequence[Interval], clock: ClockMap) -> list[Interval]:
    """The same times on another clock, and a little more for its bound."""
    slack = clock.bound_ns + 1000
    return union(
        (clock.from_host(start) - slack, clock.from_host(end) + slack) for start, end in keep
    )


def trial_clock(status: TrialStatus) -> ClockMap | None:
    """The clock of the probe on the host's; None if no offset was measured."""
    if status.where == "host":
        return SAME
    offsets = [one for one in (status.clock_before, status.clock_after) if one is not None]
    return guest_clock([(one.host_ns, one.offset_ns, one.bound_ns) for one in offsets])


def _vcpu(status: TrialStatus) -> int:
    """The virtual CPU that the probe was bound to."""
    affinity = status.probe.affinity if status.probe is not None else 1
    return (affinity & -affinity).bit_length() - 1 if affinity > 0 else 0


def _read_meta(place: Path, notes: list[str]) -> TraceMeta:
    file = place / META_FILE
    try:
        return parse_meta(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        if place.is_dir():
            notes.append(f"{file} is missing: threads have no names, and nothing was placed by it")
        return NO_TRACE
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} cannot be read: {error}", hint="restore it from a copy of the run"
        ) from error


def _read(
    place: Path, name: str, parse: Callable[[Iterator[str]], T], notes: list[str]
) -> T | None:
    """What a parser makes of a file, compressed or not; None if there is no such file."""
    for suffix in _SUFFIXES:
        file = place / f"{name}{suffix}"
        if file.is_file():
            return parse(_lines(file, suffix, notes))
    return None


def _lines(file: Path, suffix: str, notes: list[str]) -> Iterator[str]:
    """Its lines; a file that is cut off gives what it has."""
    try:
        with _open(file, suffix) as stream:
            yield from stream
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        notes.append(f"{file} ends too early and is used as far as it goes: {error}")


def _open(file: Path, suffix: str) -> io.TextIOBase:
    if suffix == ".gz":
        return io.TextIOWrapper(gzip.open(file), encoding="utf-8", errors="replace")
    if suffix == ".zst":
        packed = pa.CompressedInputStream(pa.OSFile(str(file), "r"), "zstd")
        return io.TextIOWrapper(packed, encoding="utf-8", errors="replace")  # type: ignore[type-var]
    return file.open(encoding="utf-8", errors="replace")


def _note_damage(file: str, parsed: Parsed, notes: list[str]) -> None:
    if parsed.broken:
        notes.append(
            f"{file}: {parsed.broken} lines are cut or not as expected, the first: "
            f"{parsed.first_broken}"
        )
    if parsed.lost:
        notes.append(f"{file}: the ring was too small, {parsed.lost} events are missing in it")
