"""What a run costs beyond the measured time: wall time, its phases, the controller's CPU time.

Run it from the repository's root:

    .venv/bin/python -m benchmarks.overhead --help

`vmjitter run paper` runs under a pseudo-terminal, so that its live line is drawn as for a user.
docs/method/overhead.md has the method.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.common import Row, host_conditions, parser, positive, qemu_condition, scratch, show

from vmjitter.effects.clock import now_ns
from vmjitter.errors import CommandFailed, VmjitterError

PLAN: Final = "paper"
WALL_AIM_S: Final = 10.0
CPU_AIM_PERCENT: Final = 1.0
_NS: Final = 1e9
_ACCEPTED: Final = (0, 3, 4)
"""Exit status of a run that measured something: also a missed deadline, or an invalid trial."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that has ended."""

    wall_ns: int
    status: int
    run: dict[str, Any]
    trials: tuple[dict[str, Any], ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 0 whatever the figures are."""
    made = parser("Wall time and CPU time of a run beyond what it measures.")
    made.add_argument("-l", "--loops", type=positive, default=10_000, help="activations")
    made.add_argument("--only", action="append", default=[], help="this scenario only")
    made.add_argument("--set", action="append", default=[], help="KEY=VALUE, as for vmjitter run")
    got: argparse.Namespace = made.parse_args(arguments)
    options = [word for name in got.only for word in ("--only", name)]
    options += [word for assignment in got.set for word in ("--set", assignment)]
    with scratch() as directory:
        finished = run_plan(got.loops, options, directory / "run")
    show(
        _conditions(finished, got.loops, options),
        {
            "the run": [_whole(finished)],
            "each scenario": [_scenario(trial) for trial in finished.trials],
            "phases, in seconds": [_phases(trial) for trial in finished.trials],
        },
        as_json=got.json,
    )
    return 0


def run_plan(loops: int, options: Sequence[str], output: Path) -> Finished:
    """Run the plan under a pseudo-terminal and read what it left.

    Raises:
        CommandFailed: it ended with an error.
    """
    argv = [sys.executable, "-m", "vmjitter", "run", PLAN, "--loops", str(loops)]
    begin_ns = now_ns()
    status, text = _under_terminal([*argv, "--output", str(output), *options])
    wall_ns = now_ns() - begin_ns
    if status not in _ACCEPTED:
        raise CommandFailed(f"vmjitter run ended with status {status}", evidence=text[-4000:])
    statuses = sorted(output.glob("trials/*/status.json"))
    return Finished(
        wall_ns=wall_ns,
        status=status,
        run=json.loads((output / "run.json").read_text()),
        trials=tuple(json.loads(path.read_text()) for path in statuses),
    )


def _under_terminal(argv: Sequence[str]) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color"}
        child = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        written = bytearray()
        with suppress(OSError):  # EIO: the last process with the terminal open is gone
            while block := os.read(ours, 65536):
                written += block
                sys.stderr.buffer.write(block)
                sys.stderr.flush()
        return child.wait(), written.decode(errors="replace")
    finally:
        os.close(ours)


def _conditions(finished: Finished, loops: int, options: Sequence[str]) -> dict[str, str]:
    facts = finished.run.get("qemu", {})
    kernel = f"{facts.get('kernel', '')}: {facts.get('kernel_package', '')}"
    return {
        **host_conditions(),
        **qemu_condition(),
        "command": " ".join(["vmjitter run", PLAN, "--loops", str(loops), *options]),
        "exit status": str(finished.status),
        "guest kernel": kernel.strip(": "),
        "accelerator": facts.get("accel", "none"),
        "aims": f"wall - measured < {WALL_AIM_S:g} s per scenario; CPU < {CPU_AIM_PERCENT:g} %",
    }


def _whole(finished: Finished) -> Row:
    measured_s = sum(_measured_s(trial) for trial in finished.trials)
    wall_s = finished.wall_ns / _NS
    count = max(1, len(finished.trials))
    return {
        "scenarios": len(finished.trials),
        "wall s": wall_s,
        "measured s": measured_s,
        "rest s": wall_s - measured_s,
        "rest per scenario s": (wall_s - measured_s) / count,
        "of it outside the trials s": wall_s - sum(_wall_s(trial) for trial in finished.trials),
    }


def _scenario(trial: dict[str, Any]) -> Row:
    measure_ns = trial["phases_ns"].get("measure", 0)
    controller_ns = trial.get("controller_cpu_ns", 0)
    return {
        "scenario": trial["scenario"],
        "state": trial["state"] + (", invalid" if trial["invalid"] else ""),
        "wall s": _wall_s(trial),
        "measured s": _measured_s(trial),
        "rest s": _wall_s(trial) - _measured_s(trial),
        "controller CPU ms": controller_ns / 1e6,
        "controller CPU %": 100 * controller_ns / measure_ns if measure_ns else None,
    }


def _phases(trial: dict[str, Any]) -> Row:
    phases = trial["phases_ns"]
    names = ("boot", "prepare", "clock", "loads up", "measure", "loads down", "power off")
    row: dict[str, str | float | None] = {"scenario": trial["scenario"]}
    for name in (*names, *(name for name in phases if name not in names)):
        row[name] = phases[name] / _NS if name in phases else None
    return row


def _wall_s(trial: dict[str, Any]) -> float:
    return float(sum(trial["phases_ns"].values())) / _NS


def _measured_s(trial: dict[str, Any]) -> float:
    """From the first planned activation to the last record, on the clock of the probe."""
    proof = trial.get("probe")
    return float(proof["end_ns"] - proof["t0_ns"]) / _NS if proof else 0.0


if __name__ == "__main__":
    try:
        code = main()
    except VmjitterError as error:
        print(f"{error.message}\n{error.evidence}\n{error.hint}", file=sys.stderr)
        code = 1
    raise SystemExit(code)
