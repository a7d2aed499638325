"""`vmjitter doctor`: what stands in the way of a guest that has to wake up on time."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Final

import typer
from rich.text import Text

from vmjitter.cli.output import interruptible, stderr, stdout
from vmjitter.config.resolve import Choices, resolve
from vmjitter.doctor.boot import Booted, booted
from vmjitter.doctor.check import diagnose
from vmjitter.doctor.checks import HOST_CHECKS
from vmjitter.doctor.finding import Diagnosis, Finding, Severity
from vmjitter.doctor.guest import GUEST_CHECKS
from vmjitter.doctor.probe import look
from vmjitter.doctor.vm import VM_CHECKS
from vmjitter.doctor.vm.view import look_at
from vmjitter.errors import UsageError
from vmjitter.tuning.knob import Needs

_HELP = """Say what this host can and cannot do for real time, the worst first.

Nothing is changed and no root is needed; what root could tell as well is said at the end. Every \
finding has its evidence as read, what it costs, a cure and a source. With --guest, a guest is \
booted (about 5 s) and looked at from inside; with --vm, a QEMU that runs.

Exit status: 0 nothing worse than a note, 3 a warning or a problem, 4 a blocker: until it is \
cured, a measurement here says nothing about a real-time guest.

Examples:

  vmjitter doctor

  vmjitter doctor --vm $(pgrep -o qemu) --json

  vmjitter doctor --guest --set guest.kernel=debian-rt-amd64
"""

_STYLES: Final = {
    Severity.OK: "green",
    Severity.NOTE: "cyan",
    Severity.WARNING: "yellow",
    Severity.PROBLEM: "red",
    Severity.BLOCKER: "bold white on red",
}
_WIDEST: Final = 100
"""Lines that are longer are hard to read."""
_INDENT: Final = 11
"""Where the text of a field begins."""


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("doctor", help=_HELP, rich_help_panel="Improve")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Show also what is well.")] = False,
    guest: Annotated[
        bool, typer.Option("--guest", help="Boot a guest and look at it from inside.")
    ] = False,
    vm: Annotated[
        int | None, typer.Option("--vm", metavar="PID", help="Look at a QEMU that runs.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Read a copied tree with /proc and /sys."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --guest: guest.kernel=NAME, ..."),
    ] = None,
) -> None:
    """See `_HELP`."""
    if sum((guest, vm is not None)) > 1:
        raise UsageError("--guest and --vm exclude each other", hint="call the doctor twice")
    if guest and root is not None:
        raise UsageError("a guest cannot be booted from a copied tree", hint="leave out --root")
    if assignments and not guest:
        raise UsageError("--set says how a guest is booted", hint="add --guest")
    with interruptible():
        found = _guest(assignments or []) if guest else _host(root, vm)
    if as_json:
        typer.echo(json.dumps(found.as_data(), indent=2))
    else:
        _print(found, show_all=show_all)
    raise typer.Exit(found.exit_status)


def _host(root: Path | None, pid: int | None) -> Diagnosis:
    view = look(root)
    if pid is None:
        return diagnose("host", HOST_CHECKS, view)
    return diagnose(f"QEMU {pid}", VM_CHECKS, look_at(view, pid))


def _guest(assignments: list[str]) -> Diagnosis:
    plan = resolve("paper", Choices(environ=os.environ, assignments=assignments)).plan
    with booted(plan, _say) as guest:
        return diagnose(_title(guest), GUEST_CHECKS, guest.view)


def _title(guest: Booted) -> str:
    reason = f", not KVM: {guest.accel_reason}" if guest.accel_reason else ""
    return f"guest {guest.kernel} under {guest.accel.value}{reason}"


def _say(message: str) -> None:
    stderr().print(f"{message} ...")


def _print(found: Diagnosis, *, show_all: bool) -> None:
    console = stdout()
    width = min(console.width, _WIDEST)
    lines: list[Text] = []
    for one in found.findings:
        if show_all or one.severity is not Severity.OK:
            lines += _heading(one, width)
            for name, text in _fields(one, brief=not show_all):
                lines += _field(name, text, width)
            lines.append(Text())
    if found.unknown:
        lines.append(Text("not seen", style="bold"))
        for unknown in found.unknown:
            lines += _field("", f"{unknown.id}: {unknown.why}", width)
        lines.append(Text())
    lines += map(Text, wrap(_summary(found, show_all=show_all), width))
    for line in lines:
        console.print(line, soft_wrap=True)


def _heading(one: Finding, width: int) -> list[Text]:
    """Severity and title; the check's name behind them if there is room."""
    word = one.severity.value
    first, *more = wrap(f"{word}  {one.title}", width, subsequent_indent=" " * _INDENT)
    line = Text.assemble((word, _STYLES[one.severity]), (first.removeprefix(word), "bold"))
    lines = [line, *(Text(text, style="bold") for text in more)]
    if len(lines[-1]) + 2 + len(one.id) > width:
        lines.append(Text(" " * (_INDENT - 2)))
    lines[-1].append(f"  {one.id}", style="dim")
    return lines


def _fields(one: Finding, *, brief: bool) -> Iterator[tuple[str, str]]:
    """What is said of a finding; of a note only the most necessary unless all is to be shown."""
    yield "found", one.evidence
    if one.severity is Severity.OK:
        return
    whole = not brief or one.severity is not Severity.NOTE
    if whole:
        yield "costs", one.cost
    yield "cure", one.cure
    if one.knob:
        yield "knob", f"{one.knob} (vmjitter applies it and takes it back)"
    if whole:
        if one.needs != Needs.NOTHING:
            yield "restart", one.needs
        yield "source", one.source


def _field(name: str, text: str, width: int) -> list[Text]:
    lines = wrap(text, width - _INDENT, break_long_words=False, break_on_hyphens=False)
    names = [name, *[""] * (len(lines) - 1)]
    return [
        Text.assemble((f"  {label:<{_INDENT - 2}}", "dim"), line)
        for label, line in zip(names, lines, strict=True)
    ]


def _summary(found: Diagnosis, *, show_all: bool) -> str:
    counts = Counter(one.severity for one in found.findings)
    parts = []
    for severity in reversed(Severity):
        count = counts[severity]
        if severity is not Severity.OK and count:
            parts.append(f"{count} {severity.value}{'s' if count > 1 else ''}")
    parts.append(f"{counts[Severity.OK]} well")
    if found.unknown:
        parts.append(f"{len(found.unknown)} not seen")
    more = "" if show_all else "; --all shows everything"
    return f"{found.subject}: {', '.join(parts)}{more}"
