"""What the command line prints: messages and errors.  Results go to stdout, the rest to stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from vmjitter.errors import Interrupted, VmjitterError


def stdout() -> Console:
    """The console for results; colours only on a terminal (rich honours NO_COLOR)."""
    return Console(highlight=False)


def stderr() -> Console:
    """The console for progress and errors."""
    return Console(stderr=True, highlight=False)


@contextmanager
def interruptible(hint: str = "") -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM, once everything is cleaned up, into an error with its status."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", hint=hint) from None


def print_error(error: VmjitterError) -> None:
    """Say what failed, show the evidence, name the remedy."""
    console = stderr()
    console.print(Text.assemble(("vmjitter: ", "bold red"), error.message), soft_wrap=True)
    if error.evidence:
        for line in error.evidence.splitlines():
            console.print(Text(f"  | {line}", style="dim"), soft_wrap=True)
    if error.hint:
        console.print(Text.assemble(("  hint: ", "bold"), error.hint), soft_wrap=True)
