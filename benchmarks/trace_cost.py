"""The cost of looking: how tracing shifts the latencies that it is to explain.

    .venv/bin/python -m benchmarks.trace_cost --loops 1000 --rounds 2

Each round measures the scenario in simulated hosts without a trace and with each kind of it, in an
order that is reversed in every other round.  All trials of a round have the same seed, so nothing
but the trace differs between them.  The wake-ups of all rounds together give a quantile and its
limits.  docs/method/tracing.md has the method.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.common import Row, host_conditions, median, parser, positive, scratch, show

from vmjitter.errors import CommandFailed, VmjitterError
from vmjitter.stats.histogram import Histogram, merge
from vmjitter.stats.quantiles import Estimate, estimates
from vmjitter.store.reader import read_run

_KERNELS: Final = ("--trace", "--set", "trace.qemu=off")
KINDS: Final = {
    "none": (),
    "host, light": (*_KERNELS, "--set", "trace.guest=false", "--set", "trace.events=light"),
    "host, guest, light": (*_KERNELS, "--set", "trace.events=light"),
    "host": (*_KERNELS, "--set", "trace.guest=false"),
    "host, guest": _KERNELS,
    "host, guest, full": (*_KERNELS, "--set", "trace.events=full"),
    "host, guest, QEMU": ("--trace", "--set", "trace.qemu=on"),
}
"""Options of `vmjitter run`, by what they record."""

QUANTILES: Final = {"p50": "p50_ns", "p99": "p99_ns", "p99.9": "p999_ns", "max": "max_ns"}
LIMITED: Final = ("p50", "p99")
"""The quantiles that get limits, if there are enough wake-ups."""

CONFIDENCE_PERCENT: Final = 95.0
_ACCEPTED: Final = (0, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One trial: its row of `vmjitter run --json`, and all its wake-ups."""

    kind: str
    seed: int
    row: dict[str, Any]
    histogram: Histogram


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 0 whatever the figures are."""
    made = parser("How tracing shifts latencies in the simulated host.")
    made.add_argument("-l", "--loops", type=positive, default=1000, help="activations per trial")
    made.add_argument("--rounds", type=positive, default=2, help="trials of each kind")
    made.add_argument("--first", type=positive, default=1, help="seed of the first round")
    made.add_argument("--only", default="kernel-io", help="scenario of the plan paper")
    made.add_argument("--kind", action="append", choices=list(KINDS), help="these kinds only")
    made.add_argument("--set", action="append", default=[], help="KEY=VALUE, as for vmjitter run")
    got = made.parse_args(arguments)
    kinds = [kind for kind in KINDS if not got.kind or kind in got.kind]
    measured = []
    for number in range(got.rounds):
        for kind in kinds if number % 2 == 0 else kinds[::-1]:
            measured.append(_measure(got, kind, got.first + number))
            print(json.dumps(measured[-1].row), file=sys.stderr, flush=True)
    show(
        {**host_conditions(), "command": " ".join(_command(got, "none", got.first))},
        {
            "each trial": [_trial(one) for one in measured],
            "medians over the rounds, and the shift against no trace": _shifts(kinds, measured),
            "all rounds together, with limits of 95 % each": _limits(kinds, measured),
        },
        as_json=got.json,
    )
    return 0


def _command(got: argparse.Namespace, kind: str, seed: int) -> list[str]:
    settings = [word for assignment in got.set for word in ("--set", assignment)]
    return [
        *("vmjitter", "run", "paper", "--bench", "sim", "--only", got.only, "--json"),
        *("--loops", str(got.loops), "--set", f"sim.seed={seed}", *settings, *KINDS[kind]),
    ]


def _measure(got: argparse.Namespace, kind: str, seed: int) -> Measured:
    with scratch() as directory:
        output = directory / "run"
        argv = [sys.executable, "-m", *_command(got, kind, seed), "--output", str(output)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode not in _ACCEPTED:
            raise CommandFailed(f"{' '.join(argv)} failed", evidence=done.stderr[-4000:])
        [row] = json.loads(done.stdout)["trials"]
        kept = sum(path.stat().st_size for path in _traces(output))
        [trial] = read_run(output).trials
    row |= {"kind": kind, "seed": seed, "kept": kept}
    return Measured(kind=kind, seed=seed, row=row, histogram=trial.digest.histogram)


def _traces(output: Path) -> list[Path]:
    return [path for path in output.glob("trials/*/trace/*") if path.is_file()]


def _trial(one: Measured) -> Row:
    row: dict[str, str | float | None] = {"trace": one.kind, "seed": one.seed}
    row |= {"wake-ups": one.row["count"], "valid": str(one.row["valid"])}
    row |= {f"{name} µs": _micros(one.row[key]) for name, key in QUANTILES.items()}
    return row | {"stored KiB": one.row["kept"] // 1024}


def _shifts(kinds: Sequence[str], measured: Sequence[Measured]) -> list[Row]:
    rows: list[Row] = []
    for kind in kinds:
        row: dict[str, str | float | None] = {"trace": kind}
        for name, key in QUANTILES.items():
            base, value = _median(measured, "none", key), _median(measured, kind, key)
            row[f"{name} µs"] = value
            row[f"{name} shift %"] = 100 * (value / base - 1) if value and base else None
        rows.append(row)
    return rows


def _limits(kinds: Sequence[str], measured: Sequence[Measured]) -> list[Row]:
    rows: list[Row] = []
    for kind in kinds:
        together = merge(one.histogram for one in measured if one.kind == kind)
        row: dict[str, str | float | None] = {"trace": kind, "wake-ups": together.total}
        for one in estimates(together, confidence_percent=CONFIDENCE_PERCENT):
            if one.label in LIMITED:
                row |= _limit(one)
        rows.append(row)
    return rows


def _limit(one: Estimate) -> dict[str, float | None]:
    return {
        f"{one.label} µs": _micros(one.value_ns),
        f"{one.label} from µs": _micros(one.low_ns),
        f"{one.label} to µs": _micros(one.high_ns),
    }


def _median(measured: Sequence[Measured], kind: str, key: str) -> float | None:
    found = [_micros(one.row[key]) for one in measured if one.kind == kind]
    known = [value for value in found if value is not None]
    return median(known) if known else None


def _micros(value_ns: int | None) -> float | None:
    return value_ns / 1000 if value_ns is not None else None


if __name__ == "__main__":
    try:
        code = main()
    except VmjitterError as error:
        print(f"{error.message}\n{error.evidence}\n{error.hint}", file=sys.stderr)
        code = 1
    raise SystemExit(code)
