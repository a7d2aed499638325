"""`vmjitter sim`: the simulated host."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Annotated, Any

import typer
from rich.table import Table

from vmjitter.bench.machine import execute
from vmjitter.bench.machine import shell as run_shell
from vmjitter.cli.output import interruptible, stderr, stdout
from vmjitter.config.resolve import Choices, resolve_machine
from vmjitter.config.sources import Value, builtin_machines
from vmjitter.effects.systree import SysTree
from vmjitter.effects.terminal import raw_console
from vmjitter.errors import UsageError
from vmjitter.model.sim import Clock, SimSpec
from vmjitter.sim import doctor as checks
from vmjitter.sim.build import HostBuild
from vmjitter.sim.build import build as build_host

_BUILD_HELP = """Make the simulated host: a Debian kernel with KVM and vhost-net, QEMU and Python.

Packages are fetched once, through apt's own signature check, into the cache; no root is needed, \
and later everything works offline. `vmjitter run --bench sim` does the same when it needs to.

Examples:

  vmjitter sim build

  vmjitter sim build --machine fast-nvme --refresh
"""

_SHELL_HELP = """Boot a simulated host and give a shell in it; `exit` or Ctrl-] ends it.

In virtual time (the default) its clock runs slower or faster than yours: a second of work takes \
it several of yours, a second of sleep may take less than one.

Examples:

  vmjitter sim shell

  vmjitter sim shell --clock real --set sim.cpus=4
"""

_EXEC_HELP = """Boot a simulated host, run a command in it, pass on its output and its exit status.

Examples:

  vmjitter sim exec -- uname -a

  vmjitter sim exec --clock real -- sh -c 'ls -l /dev/kvm /dev/vhost-net'
"""

_DOCTOR_HELP = """Say what this machine has for the simulated host, and what is missing.

Exit status: 0 it can be used, 1 it cannot.
"""

_Machine = Annotated[
    str | None,
    typer.Option(
        "--machine",
        help="Simulated host: a name or a TOML file.",
        autocompletion=lambda: list(builtin_machines()),
    ),
]
_ClockOption = Annotated[
    Clock | None, typer.Option("--clock", help="virtual (instructions) or real (for function).")
]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. sim.cpus=4."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="The simulated host.")
    group.command("build", help=_BUILD_HELP)(build)
    group.command("shell", help=_SHELL_HELP)(shell)
    group.command("exec", help=_EXEC_HELP)(exec_)
    group.command("doctor", help=_DOCTOR_HELP)(doctor)
    app.add_typer(group, name="sim", rich_help_panel="Measure")


def build(
    machine: _Machine = None,
    assignments: _Set = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Look for newer packages.")] = False,
    as_json: _Json = False,
) -> None:
    """See `_BUILD_HELP`."""
    spec = _spec(machine, None, assignments)
    made = build_host(spec.kernel, say=_say, refresh=refresh)
    facts = {**made.facts(), "system_disk": str(made.system), "initramfs": str(made.initramfs)}
    if as_json:
        typer.echo(json.dumps({"format": 1, **facts}, indent=2))
        return
    for key, value in facts.items():
        stdout().print(f"{key:<18} {value}", soft_wrap=True, markup=False)


def shell(machine: _Machine = None, clock: _ClockOption = None, assignments: _Set = None) -> None:
    """See `_SHELL_HELP`."""
    if not sys.stdin.isatty():
        raise UsageError(
            "a shell needs a terminal", hint="for one command: vmjitter sim exec -- COMMAND"
        )
    spec = _spec(machine, clock, assignments)
    made = build_host(spec.kernel, say=_say)
    _say("booting; Ctrl-] ends it")
    with interruptible(), raw_console() as console:
        status = run_shell(made, spec, console.device, console.size, console.pump)
    raise typer.Exit(status)


def exec_(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND", help="What to run.")],
    machine: _Machine = None,
    clock: _ClockOption = None,
    assignments: _Set = None,
) -> None:
    """See `_EXEC_HELP`."""
    spec = _spec(machine, clock, assignments)
    made = _quietly_built(spec)
    streams = {1: sys.stdout.buffer, 2: sys.stderr.buffer}

    def output(number: int, data: bytes) -> None:
        streams[number].write(data)
        streams[number].flush()

    with interruptible():
        status = execute(made, spec, command, output)
    raise typer.Exit(status)


def doctor(machine: _Machine = None, assignments: _Set = None, as_json: _Json = False) -> None:
    """See `_DOCTOR_HELP`."""
    findings = checks.examine(_spec(machine, None, assignments), SysTree())
    if as_json:
        listed = [dataclasses.asdict(finding) for finding in findings]
        typer.echo(json.dumps({"format": 1, "findings": listed}, indent=2))
    else:
        stdout().print(_table(findings))
    usable = all(finding.ok for finding in findings if finding.needed)
    raise typer.Exit(0 if usable else 1)


def _table(findings: tuple[checks.Finding, ...]) -> Table:
    table = Table("", "", "found", "what to do", box=None, pad_edge=False)
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]missing[/]"
        table.add_row(mark, finding.id, finding.evidence, finding.cure)
    return table


def _spec(machine: str | None, clock: Clock | None, assignments: list[str] | None) -> SimSpec:
    flags: dict[str, Any] = {
        "sim.machine": ("--machine", machine),
        "sim.clock": ("--clock", clock and clock.value),
    }
    return resolve_machine(
        Choices(
            environ=os.environ,
            assignments=assignments or (),
            flags={key: Value(raw, flag) for key, (flag, raw) in flags.items() if raw is not None},
        )
    )


def _quietly_built(spec: SimSpec) -> HostBuild:
    """The parts; what is done is said only if something is shown to somebody."""
    return build_host(spec.kernel, say=_say if sys.stderr.isatty() else lambda _: None)


def _say(message: str) -> None:
    stderr().print(f"{message} ...")
