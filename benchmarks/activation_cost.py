"""Instructions of one activation, of our probe and of cyclictest, counted by valgrind.

Run it from the repository's root:

    .venv/bin/python -m benchmarks.activation_cost --help

Each program runs twice under `valgrind --tool=callgrind` with different numbers of activations;
the difference of the instructions, divided by the difference of the activations, is what one
activation costs in user space.  docs/method/overhead.md has the method.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.common import Row, first_line, host_conditions, parser, positive, scratch, show

from vmjitter.effects.process import Completed, find_program, run
from vmjitter.errors import CommandFailed, VmjitterError
from vmjitter.guest.apt import Arch
from vmjitter.guest.image import native_program
from vmjitter.guest.shm import SHM_BYTES, SharedMemory

ATTEMPTS: Final = 3
_VALGRIND_HINT: Final = "apt-get install valgrind"
_CYCLICTEST_HINT: Final = "apt-get install rt-tests"
_COLLECTED: Final = re.compile(r"Collected : (\d+)")

Missed = Callable[[Completed], int]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program to count.

    Attributes:
        argv: its command line without the number of activations.
        missed: how many of the activations of a finished run were missed, and so cost next to
            nothing; cyclictest counts wake-ups only, so none of these.
    """

    what: str
    argv: tuple[str, ...]
    missed: Missed


@dataclass(frozen=True, kw_only=True)
class Count:
    """Instructions of a whole run, and the wake-ups in it."""

    instructions: int
    wakeups: int


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for."""

    interval_us: int
    few: int
    many: int
    as_json: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and print; 0 whatever the figures are."""
    options = _options(arguments)
    valgrind = find_program("valgrind", hint=_VALGRIND_HINT)
    with scratch() as directory:
        programs = [*_probes(options, directory), *_cyclictests(options)]
        rows = [_row(valgrind, directory, program, options) for program in programs]
    conditions = {
        **host_conditions(),
        "valgrind": first_line([valgrind, "--version"]),
        "activations": f"{options.few} and {options.many} at {options.interval_us} us",
        "counted": "instructions in user space; the kernel and its vDSO cannot be seen",
    }
    show(conditions, {"instructions per activation": rows}, as_json=options.as_json)
    return 0


def _options(arguments: Sequence[str] | None) -> Options:
    made = parser("Instructions of one activation, counted by valgrind's callgrind.")
    made.add_argument("-i", "--interval", type=positive, default=5000, help="period in us")
    made.add_argument("--few", type=positive, default=250, help="activations of the first run")
    made.add_argument("--more", type=positive, default=1000, help="so many more in the second")
    got: argparse.Namespace = made.parse_args(arguments)
    return Options(interval_us=got.interval, few=got.few, many=got.few + got.more, as_json=got.json)


def _probes(options: Options, directory: Path) -> list[Program]:
    arches: tuple[Arch, ...] = ("x86_64", "i386")
    programs = []
    for arch in arches:
        path = native_program("probe", arch)
        base = (str(path), "--policy", "other", "-q", "-i", str(options.interval_us))
        memory = directory / f"shm-{arch}"
        _lay_out(memory)
        programs += [
            Program(
                what=f"probe, {arch}, into shared memory",
                argv=(*base, "--shm", str(memory)),
                missed=partial(_overruns, memory),
            ),
            Program(
                what=f"probe, {arch}, standalone, with the statistics at its end",
                argv=base,
                missed=_printed_overruns,
            ),
        ]
    return programs


def _lay_out(memory: Path) -> None:
    memory.touch()
    with memory.open("r+b") as stream:
        stream.truncate(SHM_BYTES)
        SharedMemory(stream.fileno()).close()


def _printed_overruns(done: Completed) -> int:
    return int(_first(r"overruns (\d+)", done.stdout))


def _overruns(memory: Path, _done: Completed) -> int:
    with memory.open("r+b") as stream, SharedMemory(stream.fileno()) as shm:
        return int(shm.probe.overruns)


def _cyclictests(options: Options) -> list[Program]:
    cyclictest = find_program("cyclictest", hint=_CYCLICTEST_HINT)
    base = (cyclictest, "--policy", "other", "-q", "-M", "-i", str(options.interval_us))
    return [
        Program(what="cyclictest -M, x86_64, records nothing", argv=base, missed=_none),
        Program(
            what="cyclictest -M -h 1000, x86_64, histogram of 1000 us",
            argv=(*base, "-h", "1000"),
            missed=_none,
        ),
    ]


def _none(_done: Completed) -> int:
    return 0


def _row(valgrind: str, directory: Path, program: Program, options: Options) -> Row:
    print(program.what, file=sys.stderr, flush=True)
    few = _count(valgrind, directory, program, options.few)
    many = _count(valgrind, directory, program, options.many)
    return {
        "program": program.what,
        "instructions per activation": (many.instructions - few.instructions)
        / (many.wakeups - few.wakeups),
        f"all, {options.few}": few.instructions,
        f"all, {options.many}": many.instructions,
        "missed": options.few + options.many - few.wakeups - many.wakeups,
    }


def _count(valgrind: str, directory: Path, program: Program, loops: int) -> Count:
    """The run with the fewest missed activations of at most `ATTEMPTS`."""
    argv = (
        *(valgrind, "--tool=callgrind", f"--callgrind-out-file={directory / 'callgrind.out'}"),
        *(*program.argv, "-l", str(loops)),
    )
    best = Count(instructions=0, wakeups=0)
    for _ in range(ATTEMPTS):
        done = run(argv, timeout_s=600.0)
        if done.status != 0:
            raise CommandFailed(f"{program.what}: status {done.status}", evidence=done.stderr)
        wakeups = loops - program.missed(done)
        if wakeups > best.wakeups:
            instructions = int(_first(_COLLECTED.pattern, done.stderr))
            best = Count(instructions=instructions, wakeups=wakeups)
        if wakeups == loops:
            break
    return best


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise CommandFailed(f"no {pattern!r} in the output", evidence=text)
    return found.group(1)


if __name__ == "__main__":
    try:
        status = main()
    except VmjitterError as error:
        print(f"{error.message}\n{error.evidence}\n{error.hint}", file=sys.stderr)
        status = 1
    raise SystemExit(status)
