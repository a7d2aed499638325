"""`vmjitter report`: what a run says, as table, figures and JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vmjitter.cli.output import stdout
from vmjitter.errors import DataError
from vmjitter.report.figures import draw_figures
from vmjitter.report.json_out import to_json
from vmjitter.report.result import judge
from vmjitter.report.table import print_report
from vmjitter.store.reader import Run, read_run
from vmjitter.store.rundir import FIGURES_DIR
from vmjitter.store.seal import is_sealed, seal_run, update_checksums, verify_checksums

_HELP = """Show what a run says: figures of every scenario, its conditions, and whether it is valid.

RUN is a run directory, finished or not; what a killed run has recorded is shown, too.
The latency of every wake-up over time is drawn into RUN/figures.

Examples:

  vmjitter report runs/20260131-142530-paper

  vmjitter report runs/monday --no-figures

  vmjitter report runs/monday --json | jq '.trials[] | {scenario, max_ns}'

Exit status: 0 the deadline holds or none was given; 1 error; 2 usage; 3 deadline missed;
4 a measurement is invalid or incomplete.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("report", help=_HELP, rich_help_panel="Judge")(report)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw the figures again.")
    ] = True,
) -> None:
    """See `_HELP`."""
    stored = read_run(run)
    if figures:
        _redraw(stored)
    _show(stored, as_json=as_json, figures=figures)


def finish_run(path: Path, *, as_json: bool) -> None:
    """Seal a run that has just been measured, draw its figures and show it.

    Raises:
        VmjitterError: a file cannot be read or written.
        typer.Exit: always, with the exit status that the result means.
    """
    seal_run(path)
    stored = read_run(path)
    _redraw(stored)
    _show(stored, as_json=as_json, figures=True)


def _redraw(run: Run) -> None:
    try:
        files = draw_figures(run, run.path / FIGURES_DIR)
        update_checksums(run.path, files)
    except DataError as error:
        raise DataError(
            error.message, hint="vmjitter report --no-figures shows the run without writing to it"
        ) from error


def _show(run: Run, *, as_json: bool, figures: bool) -> None:
    """Print the result and end with its exit status."""
    if is_sealed(run.path):
        run = dataclasses.replace(run, notes=(*run.notes, *verify_checksums(run.path)))
    result = judge(run)
    if as_json:
        typer.echo(to_json(result))
    else:
        console = stdout()
        print_report(console, result)
        if figures:
            console.print(f"\n Figures: {run.path / FIGURES_DIR}", soft_wrap=True, markup=False)
    raise typer.Exit(result.exit_status)
