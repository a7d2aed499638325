"""`vmjitter export`: a run in another tool's format."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from vmjitter.cli.output import stderr
from vmjitter.cli.target import NO_TARGET, Confidence, Deadline, MaxMisses, retarget
from vmjitter.config.parse import nearest
from vmjitter.errors import DataError, UsageError
from vmjitter.report.exporters import EXPORTERS, Exporter, Material
from vmjitter.report.importers.as_run import SOURCE_DIR, open_results
from vmjitter.report.result import RunResult, info_target, judge
from vmjitter.store.atomic import replacing, writing
from vmjitter.store.reader import Run, is_run, read_info
from vmjitter.store.rundir import FIGURES_DIR, PLAN_FILE, REPORT_FILE, RUN_FILE, TRIALS_DIR
from vmjitter.store.seal import CHECKSUMS_FILE, is_sealed, update_checksums, verify_checksums

_FORMATS: Final = [f"{name:<21} {each.what}" for name, each in EXPORTERS.items()]

_HELP = f"""Write a run in another tool's format, for the tools that you have.

RUN is a run directory, or a result file of another tool: so this converts between their formats, \
too. What a format cannot hold is not lost silently: its comments or its own keys say it, and the \
conditions of the measurement are in every file.

Formats:

{"".join(f"  {line}{chr(10)}{chr(10)}" for line in _FORMATS)}\
Examples:

  vmjitter export runs/monday --format junit -o results.xml

  vmjitter export runs/monday --format cyclictest-histogram --scenario kernel-io > histogram.txt

  vmjitter export runs/monday --format markdown --deadline 5ms >> "$GITHUB_STEP_SUMMARY"

  vmjitter export runs/monday --format parquet -o monday.parquet

  vmjitter export rtla.txt --format cyclictest-json -o results/

Exit status: 0 written, whatever the verdict is (vmjitter report gives it as its status); 1 error; \
2 usage.
"""

_STDOUT: Final = Path("standard output")
_OWN: Final = (
    *(RUN_FILE, PLAN_FILE, REPORT_FILE, CHECKSUMS_FILE),
    *(TRIALS_DIR, FIGURES_DIR, SOURCE_DIR),
)
"""What a run directory consists of."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("export", help=_HELP, rich_help_panel="Judge")(export)


def export(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Run directory, or a result file.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="NAME",
            help="Format to write.",
            autocompletion=lambda: list(EXPORTERS),
        ),
    ] = None,
    list_formats: Annotated[bool, typer.Option("--list", help="List the formats.")] = False,
    scenario: Annotated[
        list[str] | None,
        typer.Option("--scenario", metavar="NAME", help="This scenario only; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write or replace, or a directory in which it gets the name of the run.",
            show_default="standard output",
        ),
    ] = None,
    histogram_max: Annotated[
        int | None,
        typer.Option(
            "--histogram-max",
            metavar="US",
            min=1,
            max=1_000_000,
            help="Buckets of 1 µs in cyclictest-histogram; later wake-ups are its overflow.",
            show_default="up to the latest wake-up, at most 1000000",
        ),
    ] = None,
    deadline: Deadline = None,
    max_misses_per_hour: MaxMisses = None,
    confidence: Confidence = None,
) -> None:
    """See `_HELP`."""
    if list_formats:
        typer.echo("\n".join(_FORMATS))
        return
    source = _given(run)
    exporter = _exporter(name, histogram_max)
    target = _target_file(source, output, exporter)
    stored = _open(source, deadline, max_misses_per_hour, confidence)
    result = _checked(_only(stored, scenario or ()))
    _write(exporter, Material(result=result, histogram_max_us=histogram_max), target)
    if target is not None:
        _record(source, target)
        stderr().print(f"written: {target}", soft_wrap=True, markup=False)


def _given(run: Path | None) -> Path:
    if run is None:
        raise UsageError(
            "there is nothing to export", hint="name a run: vmjitter export RUN --format NAME"
        )
    return run


def _exporter(name: str | None, histogram_max: int | None) -> Exporter:
    if name is None:
        raise UsageError("no format was given", hint=f"--format is one of {', '.join(EXPORTERS)}")
    exporter = EXPORTERS.get(name)
    if exporter is None:
        raise UsageError(f"there is no format {name!r}", hint=nearest(name, EXPORTERS))
    if histogram_max is not None and not exporter.bounded:
        bounded = ", ".join(each.name for each in EXPORTERS.values() if each.bounded)
        raise UsageError(
            f"--histogram-max means nothing for {name}: it loses no latency",
            hint=f"leave it out; it is for {bounded}",
        )
    return exporter


def _target_file(source: Path, output: Path | None, exporter: Exporter) -> Path | None:
    """The file to write; None for standard output.

    Raises:
        UsageError: it is what is read, or its directory does not exist, or bytes would go to a
            terminal.
    """
    if output is None or str(output) == "-":
        if exporter.binary and sys.stdout.isatty():
            raise UsageError(
                f"{exporter.name} is not for a terminal", hint="give a file with --output"
            )
        return None
    place = output / f"{_stem(source)}{exporter.suffix}" if output.is_dir() else output
    if not place.parent.is_dir():
        raise UsageError(
            f"there is no directory {place.parent}", hint=f"make it: mkdir -p {place.parent}"
        )
    if _belongs(place.resolve(), source.resolve()):
        raise UsageError(
            f"{place} is what was measured: an export must not take its place",
            hint="choose another name with --output",
        )
    return place


def _belongs(place: Path, source: Path) -> bool:
    """Whether a file is the source, or a part of the run directory that it is."""
    if not place.is_relative_to(source):
        return False
    inside = place.relative_to(source).parts
    return not inside or inside[0] in _OWN


def _stem(run: Path) -> str:
    """The name of a run directory as it is, of a file without its ending."""
    whole = run.resolve()
    return (whole.name if whole.is_dir() else whole.stem) or "run"


def _open(
    path: Path, deadline: str | None, max_misses: float | None, confidence: float | None
) -> Run:
    options = (deadline, max_misses, confidence)
    if all(option is None for option in options):
        return open_results(path, None)
    before = info_target(read_info(path)) if is_run(path) else NO_TARGET
    return open_results(path, retarget(before, *options))


def _only(run: Run, scenarios: Sequence[str]) -> Run:
    """The run with these scenarios only.

    Raises:
        UsageError: there is no such scenario.
    """
    known = list(
        dict.fromkeys([*(trial.status.scenario for trial in run.trials), *run.not_measured])
    )
    for name in scenarios:
        if name not in known:
            raise UsageError(f"--scenario {name}: {run.path} has none", hint=nearest(name, known))
    if not scenarios:
        return run
    return dataclasses.replace(
        run,
        info=dataclasses.replace(
            run.info, scenarios=tuple(name for name in run.info.scenarios if name in scenarios)
        ),
        trials=tuple(trial for trial in run.trials if trial.status.scenario in scenarios),
    )


def _checked(run: Run) -> RunResult:
    """Judge a run whose files were compared with their checksums, as for the report."""
    if is_sealed(run.path):
        run = dataclasses.replace(run, notes=(*run.notes, *verify_checksums(run.path)))
    return judge(run)


def _record(source: Path, target: Path) -> None:
    """A file that was put into a sealed run directory gets its checksum there."""
    place, run = target.resolve(), source.resolve()
    if place.is_file() and place.is_relative_to(run):
        update_checksums(run, [place])


def _write(exporter: Exporter, material: Material, target: Path | None) -> None:
    """Write all or nothing; a device or a pipe is written to as it is.

    Raises:
        DataError: it cannot be written.
    """
    if target is None:
        _write_stdout(exporter, material)
        return
    with writing(target):
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                exporter.write(material, stream)
            return
        with replacing(target.resolve()) as temp, temp.open("wb") as stream:
            exporter.write(material, stream)


def _write_stdout(exporter: Exporter, material: Material) -> None:
    stream: BinaryIO = sys.stdout.buffer
    try:
        with writing(_STDOUT):
            exporter.write(material, stream)
            stream.flush()
    except DataError as error:
        _give_up_stdout()
        if not isinstance(error.__cause__, BrokenPipeError):
            raise
        # The reader has enough, as `head` does: that is no error to tell about.
        raise typer.Exit(1) from error


def _give_up_stdout() -> None:
    """What is still in the buffer must not be tried again when the process ends."""
    with contextlib.suppress(OSError, ValueError), _open_null() as null:
        os.dup2(null, sys.stdout.fileno())


@contextlib.contextmanager
def _open_null() -> Iterator[int]:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        yield null
    finally:
        os.close(null)
