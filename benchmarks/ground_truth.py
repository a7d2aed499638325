"""Does `explain` name the disturbances that were caused on purpose?

    .venv/bin/python -m benchmarks.ground_truth --loops 500
    .venv/bin/python -m benchmarks.ground_truth runs/truth          # judge what was measured

Runs the plan ``ground-truth`` in simulated hosts, one after the other, explains every late wake-up
and compares with the log of the disturbances.  docs/method/ground-truth.md has the method.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.common import Row as Cells
from benchmarks.common import host_conditions, median, parser, positive, scratch, show

from vmjitter.config.injections import injections
from vmjitter.errors import CommandFailed, VmjitterError
from vmjitter.inject.kinds import KINDS
from vmjitter.inject.kinds.guest_irq_off import THREAD
from vmjitter.inject.log import INJECT_FILE, Row, parse_log
from vmjitter.inject.truth import Verdict, judge, taken
from vmjitter.report.explain import Options, TrialExplanation, explain_run
from vmjitter.store.reader import read_run
from vmjitter.trace.attribute import Attribution
from vmjitter.trace.rules import UNEXPLAINED
from vmjitter.units import NS_PER_MS, parse_duration

_ACCEPTED: Final = (0, 3, 4)
_ALL: Final = 1 << 30
_QUIET_NS: Final = 2 * NS_PER_MS
_BLAMED: Final = frozenset(cause for kind in KINDS.values() for cause in kind.causes)


@dataclass(kw_only=True)
class Judged:
    """All wake-ups of all trials.

    Attributes:
        verdicts: of the late wake-ups that were disturbed.
        missed: late wake-ups that were not, with trial, latency and what was named.
        quiet: number of wake-ups that nothing disturbed, by trial.
        invented: in these, what was named of the causes that disturbances have.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    missed: list[Cells] = field(default_factory=list)
    quiet: Counter[str] = field(default_factory=Counter)
    invented: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 0 whatever the figures are."""
    made = parser("Does explain name the disturbances that were caused on purpose?")
    made.add_argument("runs", nargs="*", type=Path, help="runs of the plan; none: measure it")
    made.add_argument("-l", "--loops", type=positive, default=500, help="activations per trial")
    made.add_argument("--only", action="append", default=[], help="these scenarios only")
    made.add_argument("--threshold", default="200us", help="a later wake-up is late")
    made.add_argument("--set", action="append", default=[], help="KEY=VALUE, as for vmjitter run")
    made.add_argument("--each", action="store_true", help="list every disturbed wake-up, too")
    got = made.parse_args(arguments)
    judged = Judged()
    with scratch() as directory:
        for path in got.runs or [_measure(got, directory / "run")]:
            _judge_run(path, parse_duration(got.threshold), judged)
    tables = {
        "largest cause that was named, by what was done": _matrix(judged.verdicts),
        "right, and the error of the time": _rights(judged.verdicts),
        "late for another reason": judged.missed,
        "undisturbed": _quiet(judged),
    }
    if got.each:
        tables["each"] = [_each(one) for one in judged.verdicts]
    show({**host_conditions(), "threshold": got.threshold}, tables, as_json=got.json)
    return 0


def _measure(got: argparse.Namespace, output: Path) -> Path:
    argv = [
        *(sys.executable, "-m", "vmjitter", "run", "ground-truth", "--bench", "sim", "--trace"),
        *("--loops", str(got.loops), "--set", "sim.jobs=1", "--output", str(output)),
        *(word for name in got.only for word in ("--only", name)),
        *(word for assignment in got.set for word in ("--set", assignment)),
    ]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in _ACCEPTED:
        raise CommandFailed(f"{' '.join(argv)} failed", evidence=done.stdout[-4000:])
    return output


def _judge_run(path: Path, threshold_ns: int, judged: Judged) -> None:
    run = read_run(path)
    plan = tomllib.loads((path / "plan.toml").read_text(encoding="utf-8"))
    for trial in run.trials:
        scenario = trial.status.scenario
        asked = injections(plan["scenario"][scenario].get("inject", []))
        width_ns = {one.kind: one.length_ns for one in asked}.get("guest-irq-off", 0)
        options = Options(scenario=scenario, threshold_ns=0, top=_ALL)
        for explained in explain_run(run, options).trials:
            rows = [*_logged(trial.path / INJECT_FILE), *_guest_rows(explained, width_ns)]
            if rows:
                _judge_disturbed(explained, rows, threshold_ns, judged)
            _judge_quiet(explained, rows, judged)


def _logged(file: Path) -> tuple[Row, ...]:
    return parse_log(file.read_text(encoding="utf-8"), str(file)) if file.is_file() else ()


def _guest_rows(explained: TrialExplanation, width_ns: int) -> Iterable[Row]:
    """Interrupts are off for the width from the tracer's turn on; most turns are such."""
    guest = explained.scene.guest
    turns = guest.cpu.turns.items if guest is not None and width_ns else ()
    for number, turn in enumerate(turns):
        if turn.comm == THREAD and 2 * (turn.end - turn.start) > width_ns:
            yield Row(number, "guest-irq-off", turn.start, turn.start + width_ns)


def _judge_disturbed(
    explained: TrialExplanation, rows: Sequence[Row], threshold_ns: int, judged: Judged
) -> None:
    for one in explained.spikes:
        if one.window.latency_ns <= threshold_ns:
            continue
        verdict = judge(one.window.interval, _causes(one), rows)
        if verdict is not None:
            judged.verdicts.append(verdict)
            continue
        row: dict[str, str | int | float | None] = {"trial": explained.name}
        row |= {"activation": one.window.activation, "late µs": one.window.latency_ns / 1000}
        row |= {"named": one.main.cause, "its µs": one.main.ns / 1000}
        judged.missed.append(row)


def _judge_quiet(explained: TrialExplanation, rows: Sequence[Row], judged: Judged) -> None:
    """Of wake-ups with which no disturbance shares any time, nor the 2 ms before them."""
    name = f"{explained.name}, in between" if rows else explained.name
    for one in explained.spikes:
        start, end = one.window.interval
        if taken((start - _QUIET_NS, end), rows):
            continue
        judged.quiet[name] += 1
        for cause, ns in _causes(one).items():
            if cause in _BLAMED:
                judged.invented[name, cause].append(ns)


def _causes(one: Attribution) -> dict[str, int]:
    return {share.cause: share.ns for share in one.shares}


def _matrix(verdicts: Sequence[Verdict]) -> list[Cells]:
    counts = Counter((one.label, one.named) for one in verdicts)
    names = sorted({named for _, named in counts} - {UNEXPLAINED})
    if any(named == UNEXPLAINED for _, named in counts):
        names.append(UNEXPLAINED)
    return [
        {"done": label, **{name: counts[label, name] for name in names}}
        for label in sorted({one.label for one in verdicts})
    ]


def _rights(verdicts: Sequence[Verdict]) -> list[Cells]:
    labels = sorted({one.label for one in verdicts})
    groups = {label: [one for one in verdicts if one.label == label] for label in labels}
    return [_right(label, group) for label, group in [*groups.items(), ("all", list(verdicts))]]


def _right(label: str, group: Sequence[Verdict]) -> Cells:
    errors = [one.error_ns / 1000 for one in group]
    row: dict[str, str | int | float | None] = {"done": label, "late wake-ups": len(group)}
    if not group:
        return row
    row["right cause %"] = 100 * sum(one.named_rightly for one in group) / len(group)
    row["right time %"] = 100 * sum(one.time_right for one in group) / len(group)
    return row | {"median error µs": median(errors), "worst error µs": max(errors, key=abs)}


def _quiet(judged: Judged) -> list[Cells]:
    rows: list[Cells] = []
    for trial, count in judged.quiet.items():
        found = {cause: ns for (name, cause), ns in judged.invented.items() if name == trial}
        for cause, times in sorted(found.items()) or [("none", [])]:
            row: dict[str, str | int | float | None] = {"trial": trial, "wake-ups": count}
            row |= {"blamed": cause, "times": len(times)}
            rows.append(row | {"longest µs": max(times) / 1000 if times else None})
    return rows


def _each(one: Verdict) -> Cells:
    return {
        "done": one.label,
        "named": one.named,
        "right": str(one.named_rightly),
        "error µs": one.error_ns / 1000,
        "allowed µs": one.error_allowed_ns / 1000,
    }


if __name__ == "__main__":
    try:
        code = main()
    except VmjitterError as error:
        print(f"{error.message}\n{error.evidence}\n{error.hint}", file=sys.stderr)
        code = 1
    raise SystemExit(code)
