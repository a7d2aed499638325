"""The command line: one file per verb; the only place that prints errors and ends the process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Annotated, Final

import typer

import vmjitter
from vmjitter.cli.output import print_error
from vmjitter.errors import VmjitterError

# In the order in which `--help` lists them.
_VERBS: Final = (
    *("run", "guest", "sim"),
    *("report", "explain", "compare", "plan", "import", "export"),
    *("doctor", "tune"),
)

_HELP = """Does a guest under QEMU/KVM wake up on time, how sure is that, and what makes it late?

Start with: vmjitter run paper --loops 10000
"""


def application(verbs: Sequence[str] = _VERBS) -> typer.Typer:
    """The application with some of its verbs, or all: what they need is imported."""
    app = typer.Typer(
        help=_HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False
    )
    app.callback()(_options)
    for verb in verbs:
        import_module(f"vmjitter.cli.{verb}_cmd").register(app)
    return app


def main() -> None:
    """Entry point of the program `vmjitter`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; errors are printed, not raised."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        application(_needed(arguments))(args=list(arguments), prog_name="vmjitter")
    except VmjitterError as error:
        print_error(error)
        return error.exit_status
    except SystemExit as end:  # typer's way of giving the status
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _needed(arguments: Sequence[str]) -> Sequence[str]:
    """The verb alone if it comes first: importing everything would take a second."""
    return arguments[:1] if arguments and arguments[0] in _VERBS else _VERBS


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            is_eager=True,
            callback=lambda value: _print_version() if value else None,
        ),
    ] = False,
) -> None:
    """See `_HELP`."""


def _print_version() -> None:
    typer.echo(f"vmjitter {vmjitter.__version__}")
    raise typer.Exit


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
