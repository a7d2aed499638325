"""A simulated host on its own, for a shell or a command."""

from __future__ import annotations

import json
import select
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from vmjitter.bench.inside import EXEC, OUTPUT, REQUEST_FILE, SHELL
from vmjitter.effects.scratch import scratch_directory
from vmjitter.errors import VmjitterError
from vmjitter.model.sim import SimSpec
from vmjitter.sim.build import HostBuild
from vmjitter.sim.host import Job, SimulatedHost
from vmjitter.sim.tape import END, Record

_LOOK_S: Final = 0.1
_LAST_READS: Final = 256
_OUTPUT_BYTES: Final = 1 << 30


def execute(
    build: HostBuild,
    spec: SimSpec,
    argv: Sequence[str],
    output: Callable[[int, bytes], None],
    *,
    files: Mapping[str, bytes] | None = None,
) -> int:
    """Boot a simulated host, run a command in it, and return its exit status.

    Args:
        build: what the host is made of.
        spec: the machine.
        argv: the command.
        output: gets 1 or 2, for standard output or standard error, and bytes, as they come.
        files: what the command finds below ``/job``, by relative path.

    Raises:
        SimulationLost: the simulated host ended or stalled before the command did.
        CommandFailed: the simulator cannot be started.
    """
    request = {REQUEST_FILE: json.dumps({"argv": list(argv)}).encode()}
    job = Job(
        request=Record(kind=EXEC),
        files={**(files or {}), **request},
        result_bytes=_OUTPUT_BYTES,
    )
    return _follow(build, spec, job, output, lambda: False)


def shell(
    build: HostBuild,
    spec: SimSpec,
    terminal: Path,
    size: tuple[int, int],
    pump: Callable[[], bool],
) -> int:
    """Boot a simulated host with a shell on its console, until the shell ends.

    Args:
        build: what the host is made of.
        spec: the machine.
        terminal: device of a pseudo-terminal, whose other end is with the user.
        size: rows and columns of the user's terminal.
        pump: called again and again; it moves what is typed and shown; true if any was shown.

    Raises:
        SimulationLost: the simulated host ended before the shell did.
        CommandFailed: the simulator cannot be started.
    """
    request = json.dumps({"rows": size[0], "columns": size[1]}).encode()
    job = Job(request=Record(kind=SHELL), files={REQUEST_FILE: request}, console=terminal)
    return _follow(build, spec, job, lambda _number, _data: None, pump)


def _follow(
    build: HostBuild,
    spec: SimSpec,
    job: Job,
    output: Callable[[int, bytes], None],
    pump: Callable[[], bool],
) -> int:
    with (
        scratch_directory(Path(gettempdir()), "vmjitter-sim-") as directory,
        SimulatedHost(build, spec, job, directory) as host,
    ):
        while True:
            for record in host.take():
                if record.kind == OUTPUT:
                    output(record.integer("fd"), record.payload)
                elif record.kind == END:
                    _show_last(pump)
                    return _status(record)
            pump()
            select.select([host], [], [], _LOOK_S if job.console is None else 0)


def _show_last(pump: Callable[[], bool]) -> None:
    """What a shell wrote last comes by another way than its end; a program it left may go on."""
    for _ in range(_LAST_READS):
        if not pump():
            return


def _status(record: Record) -> int:
    said = json.loads(record.payload)
    if message := said.get("message"):
        raise VmjitterError(message, hint=said.get("hint", ""), evidence=said.get("evidence", ""))
    return record.integer("status")
