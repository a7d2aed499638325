"""`vmjitter import`: another tool's result, judged and shown like one of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmjitter.cli.output import stdout
from vmjitter.cli.target import NO_TARGET, Confidence, Deadline, MaxMisses, retarget
from vmjitter.errors import UsageError
from vmjitter.model.judge import Target
from vmjitter.report.importers import IMPORTERS
from vmjitter.report.importers.as_run import Reading, as_run, store_run
from vmjitter.report.importers.sniff import import_file
from vmjitter.report.json_out import to_json
from vmjitter.report.result import judge
from vmjitter.report.table import print_report
from vmjitter.store.reader import Run
from vmjitter.units import parse_duration

_HELP = """Read the result of another tool, and judge and show it like one of our own.

FILE is what the tool wrote or printed, also compressed (gzip, xz, bzip2, zstd). The format is \
recognised; --list shows all. Each thread, CPU or context becomes a trial of its own. What the \
file does not tell is said: of most tools, activations that were missed. A verdict that would \
need it is inconclusive.

vmjitter report, compare and export take such a file as well, without an import. With --output it \
is kept as a run directory, together with the original file.

Examples:

  vmjitter import cyclictest.json

  vmjitter import histogram.txt --period 200us --deadline 100us

  vmjitter import timerlat.txt.gz --details

  ssh target cyclictest -q -m -p 90 -D 60 -h 400 | vmjitter import - --period 1ms

  vmjitter import oslat.json --json | jq '.trials[] | {title, max_ns, overflow}'

  vmjitter import cyclictest.json --deadline 100us -o runs/before

Exit status: 0 the deadline holds or none was given; 1 error; 2 usage; 3 deadline missed; \
4 inconclusive: too short for the target, or the file does not tell enough.
"""


_STDIN = Path("/dev/stdin")


def _format_names() -> list[str]:
    return [importer.name for importer in IMPORTERS]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("import", help=_HELP, rich_help_panel="Judge")(import_)


def import_(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Result of another tool; - for standard input."),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="NAME",
            help="Its format, if it is not to be recognised.",
            autocompletion=_format_names,
        ),
    ] = None,
    formats: Annotated[bool, typer.Option("--list", help="Show the formats, and end.")] = False,
    period: Annotated[
        str | None,
        typer.Option(
            "-i",
            "--period",
            metavar="SPAN",
            help="Distance of two planned wake-ups, if the file does not tell it, e.g. 200us; "
            "a number means µs.",
        ),
    ] = None,
    deadline: Deadline = None,
    max_misses_per_hour: MaxMisses = None,
    confidence: Confidence = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RUN", help="Run directory to make of it."),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Also conditions and statistics of each trial.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout.")
    ] = False,
) -> None:
    """See `_HELP`."""
    if formats:
        _list_formats()
        return
    if file is None:
        raise UsageError("which file?", hint="vmjitter import FILE, e.g. the JSON of cyclictest")
    reading = Reading(format=format_name, period_ns=_period_ns(period))
    target = retarget(NO_TARGET, deadline, max_misses_per_hour, confidence)
    run = _read(_STDIN if file == Path("-") else file, reading, target, output)
    result = judge(run)
    if as_json:
        typer.echo(to_json(result))
    else:
        console = stdout()
        print_report(console, result, details=details)
        if output is not None:
            console.print(f"\n Run:     {output}", soft_wrap=True, markup=False)
    raise typer.Exit(result.exit_status)


def _list_formats() -> None:
    width = max(len(importer.name) for importer in IMPORTERS)
    for importer in IMPORTERS:
        typer.echo(f"{importer.name:<{width}}  {importer.what}")


def _period_ns(text: str | None) -> int:
    """The period that was given; 0 if none was.

    Raises:
        UsageError: it is no length of time above zero.
    """
    if text is None:
        return 0
    period_ns = parse_duration(f"{text}us" if text.isdecimal() else text)
    if period_ns <= 0:
        raise UsageError("the period must be longer than nothing", hint="write e.g. 200us")
    return period_ns


def _read(file: Path, reading: Reading, target: Target, output: Path | None) -> Run:
    if file.is_dir():
        raise UsageError(
            f"{file} is a directory, not a file of another tool",
            hint=f"a run directory is shown by: vmjitter report {file}",
        )
    if output is not None:
        return store_run(output, file, reading, target)
    return as_run(file, import_file(file, reading.format), target, period_ns=reading.period_ns)
