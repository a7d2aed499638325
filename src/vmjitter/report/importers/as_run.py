"""Another tool's result as a run, so that everything that reads runs reads it, too.

Such a run says that it was imported, from what, and what the source cannot tell.  It can be stored:
the directory keeps the original file, with its checksum, and is read by importing that again.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import vmjitter
from vmjitter.errors import DataError, UsageError
from vmjitter.model.judge import Lack, Target
from vmjitter.model.run import RUN_FORMAT, RunInfo, TrialState, TrialStatus
from vmjitter.report.importers.base import Imported, Series
from vmjitter.report.importers.sniff import import_file
from vmjitter.stats.digest import Digest, unordered
from vmjitter.store.atomic import writing
from vmjitter.store.reader import Run, Trial, digest_samples, read_run
from vmjitter.store.rundir import PLAN_FILE, RunWriter
from vmjitter.store.samples import SampleArrays, no_samples
from vmjitter.store.seal import seal_run
from vmjitter.units import format_ns

IMPORT_BENCH: Final = "import"
SOURCE_DIR: Final = "source"

_NO_TARGET: Final = Target(deadline_ns=None)
_AFTERWARDS: Final = "deadline, allowed misses or confidence were set after the measurement"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file is to be read.

    Attributes:
        format: name of an importer; None to recognise it.
        period_ns: distance of two planned wake-ups, where the file does not tell it; else 0.
    """

    format: str | None = None
    period_ns: int = 0


def open_results(
    path: Path,
    target: Target | None,
    format: str | None = None,  # noqa: A002
    *,
    period_ns: int = 0,
) -> Run:
    """Read a run directory, or another tool's result as a run.

    Args:
        path: the directory or the file.
        target: what to judge by; None for the one that the run directory names, or none.
        format: of the file; recognised if None.
        period_ns: see `Reading`.

    Raises:
        UsageError: no such format, or an option that means nothing for this path.
        DataError: it cannot be read, or is of no known format.
    """
    reading = Reading(format=format, period_ns=period_ns)
    if path.is_dir() or not path.exists():
        if reading != Reading():
            raise UsageError(
                f"{path} is no file of another tool: its format and period are not to be chosen",
                hint="leave --format and --period out",
            )
        return _open_directory(path, target)
    return as_run(path, import_file(path, format), target, period_ns=period_ns)


def as_run(path: Path, imported: Imported, target: Target | None, *, period_ns: int = 0) -> Run:
    """Make a run of what a file says: each series becomes a trial.

    Args:
        path: of the file.
        imported: its content.
        target: what to judge by, or None.
        period_ns: for the series whose period the file does not tell; 0 if it is not known.

    Raises:
        UsageError: the file tells every period itself.
    """
    series = imported.series
    if period_ns:
        series = _with_period(series, period_ns, path)
    judged = target or _NO_TARGET
    title = f"{imported.tool}, imported from {path.name}"
    info = RunInfo(
        format=RUN_FORMAT,
        vmjitter=vmjitter.__version__,
        plan=path.name,
        title=title,
        created_utc=imported.created_utc,
        state=TrialState.DONE,
        pair=None,
        scenarios=tuple(each.name for each in series),
        bench=IMPORT_BENCH,
        host={**imported.facts, **_origin(imported)},
        **dataclasses.asdict(judged),
    )
    afterwards = () if judged == _NO_TARGET else (_AFTERWARDS,)
    return Run(
        path=path,
        info=info,
        plan_toml="",
        trials=tuple(_trial(path, each, imported, judged.deadline_ns) for each in series),
        notes=(*imported.notes, *afterwards),
    )


def store_run(directory: Path, path: Path, reading: Reading, target: Target) -> Run:
    """Keep a file as a run directory, and read it from there.

    Args:
        directory: to make.
        path: the file; a copy of it is kept.
        reading: how it is read, also later.
        target: what it is held against.

    Raises:
        UsageError: there is something at ``directory``, ``path`` is a pipe, or see `as_run`.
        DataError: the file cannot be read, or the directory not be written; then none is left.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file: it cannot be kept", hint="write it to a file first")
    run = as_run(path, import_file(path, reading.format), target, period_ns=reading.period_ns)
    content = path.read_bytes()
    with ExitStack() as undo:
        if not directory.exists():
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
        writer = RunWriter.create(directory, run.info, _plan_toml(path, reading))
        copy = writer.path / SOURCE_DIR / path.name
        with writing(copy):
            copy.parent.mkdir()
            copy.write_bytes(content)
        seal_run(directory)
        undo.pop_all()
    return _open_directory(directory, None)


def _plan_toml(path: Path, reading: Reading) -> str:
    """How to read the file again, as text of ``plan.toml``; a JSON text is one of TOML, too."""
    lines = [
        "# imported: the result of another tool, kept as it was in the directory source",
        "[import]",
        f"file = {json.dumps(path.name)}",
        f"period_ns = {reading.period_ns}",
    ]
    lines += [f"format = {json.dumps(reading.format)}"] if reading.format else []
    return "\n".join(lines) + "\n"


def _open_directory(path: Path, target: Target | None) -> Run:
    """Read a run directory; one of an imported file by importing that again."""
    stored = read_run(path, target)
    if stored.info.bench != IMPORT_BENCH:
        return stored
    file, reading = _source(path, stored.plan_toml)
    judged = Target(
        deadline_ns=stored.info.deadline_ns,
        max_misses_per_hour=stored.info.max_misses_per_hour,
        confidence_percent=stored.info.confidence_percent,
    )
    imported = import_file(file, reading.format)
    run = as_run(file, imported, judged, period_ns=reading.period_ns)
    notes = (*imported.notes, *stored.notes)
    return dataclasses.replace(
        run, path=path, info=stored.info, plan_toml=stored.plan_toml, notes=notes
    )


def _source(path: Path, plan_toml: str) -> tuple[Path, Reading]:
    """What `_plan_toml` wrote.

    Raises:
        DataError: it was changed, or is missing.
    """
    try:
        about = tomllib.loads(plan_toml)["import"]
        name, period_ns, format_name = about["file"], about["period_ns"], about.get("format")
    except (ValueError, KeyError, TypeError, AttributeError):
        name, period_ns, format_name = "", 0, None
    texts = isinstance(name, str) and isinstance(format_name, str | None)
    if not (texts and name and Path(name).name == name and type(period_ns) is int):
        raise DataError(
            f"{path / PLAN_FILE} does not say what was imported",
            hint=f"import the file itself: it is in {path / SOURCE_DIR}",
        )
    return path / SOURCE_DIR / name, Reading(format=format_name, period_ns=max(period_ns, 0))


def _with_period(series: tuple[Series, ...], period_ns: int, path: Path) -> tuple[Series, ...]:
    if all(each.period_ns for each in series):
        known = ", ".join(dict.fromkeys(format_ns(each.period_ns) for each in series))
        raise UsageError(f"{path} tells its period: {known}", hint="leave --period out")
    return tuple(
        each
        if each.period_ns
        else dataclasses.replace(
            each,
            period_ns=period_ns,
            lacks=each.lacks - {Lack.PERIOD},
            notes=(*each.notes, f"its period of {format_ns(period_ns)} was given on import"),
        )
        for each in series
    )


def _origin(imported: Imported) -> dict[str, str]:
    facts = {"tool": imported.tool, "command": imported.command}
    return {name: text for name, text in facts.items() if text}


def _trial(path: Path, series: Series, imported: Imported, deadline_ns: int | None) -> Trial:
    samples = _samples(series)
    digest = _digest(series, samples, deadline_ns)
    status = TrialStatus(
        scenario=series.name,
        title=series.title,
        state=TrialState.DONE,
        loops=digest.activations,
        period_ns=series.period_ns,
        where="",
        accel="",
        conditions=(f"measured by {imported.tool}, not by vmjitter",),
        started_utc=imported.created_utc,
        recorded=digest.activations,
        overruns=digest.activations - digest.histogram.total,
        guest_facts=dict(series.facts),
    )
    return Trial(
        path=path,
        status=status,
        samples=samples,
        digest=digest,
        loads=(),
        notes=series.notes,
        readable=True,
        lacks=series.lacks,
    )


def _samples(series: Series) -> SampleArrays:
    if series.latency_ns is None:
        return no_samples()
    return SampleArrays(
        latency_ns=series.latency_ns,
        tsc=np.zeros(len(series.latency_ns), np.uint64),
        period_ns=series.period_ns,
        t0_ns=0,
        tsc_hz=0,
        loops=len(series.latency_ns),
        clock="",
    )


def _digest(series: Series, samples: SampleArrays, deadline_ns: int | None) -> Digest:
    """The digest; its histogram is that of the series, whose bins are as wide as the tool's."""
    if series.latency_ns is None:
        return unordered(
            series.histogram, period_ns=series.period_ns, overruns=series.overruns or 0
        )
    digest = digest_samples(samples, series.period_ns, deadline_ns)
    return dataclasses.replace(digest, histogram=series.histogram)
