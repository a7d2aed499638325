"""`vmjitter report`: what a run says, as a page, table, figures and JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vmjitter.cli.output import stdout
from vmjitter.cli.target import NO_TARGET, Confidence, Deadline, MaxMisses, retarget
from vmjitter.errors import DataError
from vmjitter.report.ablation import ablation
from vmjitter.report.ablation_figure import draw_ablation
from vmjitter.report.figures import draw_figures
from vmjitter.report.html.page import write_page
from vmjitter.report.importers.as_run import open_results
from vmjitter.report.json_out import to_json
from vmjitter.report.result import RunResult, info_target, judge
from vmjitter.report.table import print_report
from vmjitter.store.reader import Run, is_run, read_info, read_run
from vmjitter.store.rundir import FIGURES_DIR, REPORT_FILE
from vmjitter.store.seal import is_sealed, seal_run, update_checksums, verify_checksums

_HELP = """Show what a run says: the verdict, the figures of every scenario, what they were \
measured under, and whether they are valid.

RUN is a run directory, finished or not (what a killed run has recorded is shown, too), or a \
result file of another tool, see `vmjitter import --list`.

The whole report is written as one page to RUN/report.html; it needs no network and can be handed \
over as it is. The latency of every wake-up over time is drawn into RUN/figures.

Examples:

  vmjitter report runs/20260131-142530-paper

  vmjitter report runs/monday --details

  vmjitter report runs/monday --deadline 5ms --max-misses-per-hour 1 --confidence 95

  vmjitter report runs/monday --no-figures --no-html      shows it without writing anything

  vmjitter report runs/monday --json | jq '.trials[] | {scenario, max_ns}'

  vmjitter report cyclictest.json --deadline 100us -o cyclictest.html

Exit status: 0 the deadline holds or none was given; 1 error; 2 usage; 3 deadline missed; \
4 inconclusive: too short for the target, or a measurement is invalid or incomplete.
"""

_READ_ONLY = "vmjitter report --no-figures --no-html shows the run without writing to it"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("report", help=_HELP, rich_help_panel="Judge")(report)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, or a result file.")],
    deadline: Deadline = None,
    max_misses_per_hour: MaxMisses = None,
    confidence: Confidence = None,
    details: Annotated[
        bool, typer.Option("--details", help="Also conditions, loads and statistics of each trial.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw the figures again.")
    ] = True,
    page: Annotated[bool, typer.Option("--html/--no-html", help="Write the page again.")] = True,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the page there. [default: RUN/report.html]"),
    ] = None,
) -> None:
    """See `_HELP`."""
    stored = _open(run, deadline, max_misses_per_hour, confidence)
    result = _checked(stored)
    written = _write(result, figures=figures, page=page, output=output)
    _show(result, written, as_json=as_json, details=details)


def finish_run(path: Path, *, as_json: bool) -> None:
    """Seal a run that has just been measured, draw its figures, write its page and show it.

    Raises:
        VmjitterError: a file cannot be read or written.
        typer.Exit: always, with the exit status that the result means.
    """
    seal_run(path)
    result = _checked(read_run(path))
    written = _write(result, figures=True, page=True, output=None)
    _show(result, written, as_json=as_json, details=False)


def _open(
    path: Path, deadline: str | None, max_misses: float | None, confidence: float | None
) -> Run:
    options = (deadline, max_misses, confidence)
    if all(option is None for option in options):
        return open_results(path, None)
    before = info_target(read_info(path)) if is_run(path) else NO_TARGET
    return open_results(path, retarget(before, *options))


def _checked(run: Run) -> RunResult:
    """Judge a run whose files were compared with their checksums."""
    if is_sealed(run.path):
        run = dataclasses.replace(run, notes=(*run.notes, *verify_checksums(run.path)))
    return judge(run)


def _write(result: RunResult, *, figures: bool, page: bool, output: Path | None) -> dict[str, Path]:
    """Write figures and page; what was written, by the word for it."""
    run = result.run
    stored = is_run(run.path)
    written: dict[str, Path] = {}
    files: list[Path] = []
    try:
        if figures and stored:
            files += draw_figures(run, run.path / FIGURES_DIR)
            contributions = ablation(result)
            if contributions is not None:
                files += draw_ablation(contributions, result, run.path / FIGURES_DIR)
            written["Figures"] = run.path / FIGURES_DIR
        if output is not None or (page and stored):
            file = output or run.path / REPORT_FILE
            write_page(result, file)
            written["Report"] = file
            files += [file] if output is None else []
        if stored:
            update_checksums(run.path, files)
    except DataError as error:
        raise DataError(error.message, hint=error.hint if output else _READ_ONLY) from error
    return written


def _show(result: RunResult, written: dict[str, Path], *, as_json: bool, details: bool) -> None:
    """Print the result and end with its exit status."""
    if as_json:
        typer.echo(to_json(result))
    else:
        console = stdout()
        print_report(console, result, details=details)
        console.print()
        for word, path in written.items():
            console.print(f" {word + ':':<8} {path}", soft_wrap=True, markup=False)
    raise typer.Exit(result.exit_status)
