"""Reading a run directory, finished or not, whole or damaged.

A file that cannot be read is a `DataError` with its name and a remedy.  A trial that cannot be
read does not hide the others: it is there with the reason in `Trial.notes`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import cattrs
from cattrs import transform_error

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack, Target
from vmjitter.model.run import RUN_FORMAT, RunInfo, TrialState, TrialStatus
from vmjitter.stats.digest import Digest, digest_of
from vmjitter.store.rundir import PLAN_FILE, RUN_FILE, STATUS_FILE, TRIALS_DIR
from vmjitter.store.samples import (
    Int64s,
    LoadSeries,
    Samples,
    Uint64s,
    no_samples,
    read_loads,
    read_samples,
)

Record = TypeVar("Record", RunInfo, TrialStatus)

_UNFINISHED: Final = (TrialState.PENDING, TrialState.RUNNING)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One trial as it was stored.

    Attributes:
        samples: one latency and TSC per activation, in their order; none if only a histogram is
            known.
        digest: what the latencies say.
        loads: operations per second of each load, as far as they were stored.
        notes: what could not be read, and what was strange; empty if all is well.
        readable: status and samples could be read.
        lacks: what the source of an imported result cannot tell.
    """

    path: Path
    status: TrialStatus
    samples: Samples
    digest: Digest
    loads: tuple[LoadSeries, ...]
    notes: tuple[str, ...]
    readable: bool
    lacks: frozenset[Lack] = frozenset()

    @property
    def latency_ns(self) -> Int64s:
        """Latency per activation in ns; ``layout.MISSED`` for a missed activation."""
        return self.samples.latency_ns

    @property
    def tsc(self) -> Uint64s:
        """Time stamp counter at wake-up; 0 where there is none."""
        return self.samples.tsc

    @property
    def recorded(self) -> int:
        """Activations that are stored."""
        return self.digest.activations

    @property
    def loops(self) -> int:
        """Activations that were planned."""
        return self.status.loops or self.samples.loops

    @property
    def period_ns(self) -> int:
        """Distance of two planned wake-ups."""
        return self.status.period_ns or self.samples.period_ns

    @property
    def incomplete(self) -> bool:
        """Whether it did not come to its end, or not every activation is there."""
        ended = self.status.state is TrialState.DONE
        return not (ended and self.readable and self.recorded >= self.loops)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run directory as it was stored.

    Attributes:
        plan_toml: the plan with every default, as text.
        notes: what could not be read beside the trials.
    """

    path: Path
    info: RunInfo
    plan_toml: str
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]

    @property
    def not_measured(self) -> tuple[str, ...]:
        """Scenarios of the plan that have no trial: the run ended before them."""
        measured = {trial.status.scenario for trial in self.trials}
        return tuple(name for name in self.info.scenarios if name not in measured)

    def trial(self, scenario: str) -> Trial | None:
        """The trial of a scenario, or None if there is none."""
        return next((trial for trial in self.trials if trial.status.scenario == scenario), None)


def read_run(path: Path, target: Target | None = None) -> Run:
    """Read a run directory.

    Args:
        path: the directory.
        target: what to judge by instead of the target that was fixed before the measurement; the
            run's info then holds it.

    A run whose vmjitter is gone without a last word (its files still say "running") is read as
    interrupted.

    Raises:
        DataError: this is no run directory, or one of a newer format.
    """
    info = read_info(path)
    notes: list[str] = []
    if target is not None:
        info = _retarget(info, target, notes)
    return Run(
        path=path,
        info=info,
        plan_toml=_read_plan(path / PLAN_FILE, notes),
        trials=tuple(
            _read_trial(directory, info.deadline_ns) for directory in trial_directories(path)
        ),
        notes=tuple(notes),
    )


def trial_directories(path: Path) -> list[Path]:
    """Directories of a run's trials, in the order in which they were measured."""
    trials = path / TRIALS_DIR
    return sorted((entry for entry in trials.glob("*") if entry.is_dir()), key=_number_and_name)


def _number_and_name(trial: Path) -> tuple[int, str]:
    number = trial.name.partition("-")[0]
    return (int(number) if number.isdecimal() else 0, trial.name)


def read_status(path: Path) -> TrialStatus:
    """Read the ``status.json`` of a trial.

    Raises:
        DataError: it is missing or broken.
    """
    return _structure(_read_json(path), TrialStatus, path)


def is_run(path: Path) -> bool:
    """Whether this is a run directory."""
    return (path / RUN_FILE).is_file()


def read_info(path: Path) -> RunInfo:
    """Read the head of a run directory.

    Raises:
        DataError: this is no run directory, or one of a newer format.
    """
    file = path / RUN_FILE
    if not path.is_dir() or not file.exists():
        raise DataError(
            f"{path} is not a run directory: there is no {RUN_FILE} in it",
            hint="give the directory that `vmjitter run` named, e.g. runs/20260131-142530-paper",
        )
    data = _read_json(file)
    number = data.get("format")
    if type(number) is not int or not 1 <= number <= RUN_FORMAT:
        raise DataError(
            f"{file} has format {number!r}, this vmjitter reads formats 1 to {RUN_FORMAT}",
            hint="read it with the vmjitter that measured it, or a newer one",
        )
    info = _structure(data, RunInfo, file)
    return _interrupted(info)


def _retarget(info: RunInfo, target: Target, notes: list[str]) -> RunInfo:
    changed = dataclasses.replace(info, **dataclasses.asdict(target))
    if changed != info:
        notes.append("deadline, allowed misses or confidence were set after the measurement")
    return changed


def _read_plan(file: Path, notes: list[str]) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        notes.append(f"{file} cannot be read: {_reason(error)}")
        return ""


def _read_trial(path: Path, deadline_ns: int | None) -> Trial:
    notes: list[str] = []
    readable = True
    try:
        status = _interrupted(read_status(path / STATUS_FILE))
    except DataError as error:
        readable = False
        notes.append(_note(error))
        status = _unknown_status(path)
    samples: Samples
    try:
        samples = read_samples(path, notes)
        digest = digest_samples(samples, status.period_ns, deadline_ns)
    except DataError as error:
        readable = False
        notes.append(_note(error))
        samples = no_samples()
        digest = digest_samples(samples, status.period_ns, deadline_ns)
    try:
        loads = read_loads(path)
    except DataError as error:
        notes.append(_note(error))
        loads = ()
    return Trial(
        path=path,
        status=status,
        samples=samples,
        digest=digest,
        loads=loads,
        notes=tuple(notes),
        readable=readable,
    )


def digest_samples(samples: Samples, period_ns: int, deadline_ns: int | None) -> Digest:
    """Digest the samples of a trial.

    Args:
        samples: read chunk by chunk.
        period_ns: of the trial; 0 to take that of the samples.
        deadline_ns: a wake-up later than this is a miss.

    Raises:
        DataError: they cannot be read.
    """
    return digest_of(
        samples.chunks(),
        period_ns=period_ns or samples.period_ns,
        activations=samples.count,
        deadline_ns=deadline_ns,
    )


def _interrupted(record: Record) -> Record:
    """Nobody measures any more when a run is read: what is not ended was interrupted."""
    if record.state not in _UNFINISHED:
        return record
    return dataclasses.replace(record, state=TrialState.INTERRUPTED)


def _unknown_status(path: Path) -> TrialStatus:
    _, _, name = path.name.partition("-")
    scenario = name or path.name
    return TrialStatus(
        scenario=scenario,
        title=scenario,
        state=TrialState.FAILED,
        loops=0,
        period_ns=0,
        where="",
        accel="",
        error=f"{STATUS_FILE} cannot be read",
    )


def _read_json(file: Path) -> dict[str, object]:
    hint = "restore it from a copy of the run; without it this part cannot be read"
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {_reason(error)}", hint=hint) from error
    if not isinstance(data, dict):
        raise DataError(f"{file} holds no JSON object", hint=hint)
    return data


def _structure(data: dict[str, object], record: type[Record], file: Path) -> Record:
    try:
        return _CONVERTER.structure(data, record)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        wrong = "; ".join(transform_error(error)).replace("$", "its content")
        raise DataError(
            f"{file} is not as vmjitter writes it: {wrong}",
            hint="restore it from a copy of the run, or report this as a defect of vmjitter",
        ) from error


def _exactly(value: object, kind: type[object]) -> object:
    """Refuse what cattrs would convert: "12" is no count, null is no text."""
    if issubclass(kind, StrEnum):  # a kind of text, so it comes here, too
        return kind(str(value))
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    for kind in (int, str, bool, float):
        converter.register_structure_hook(kind, _exactly)
    return converter


_CONVERTER: Final = _converter()


def _note(error: DataError) -> str:
    return f"{error.message}: {error.hint}" if error.hint else error.message


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
