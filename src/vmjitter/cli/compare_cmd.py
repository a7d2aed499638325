"""`vmjitter compare`: before and after, by trials."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from vmjitter.cli.output import stdout
from vmjitter.cli.target import NO_TARGET, Confidence, Deadline, MaxMisses, retarget
from vmjitter.config.parse import nearest
from vmjitter.errors import MeasurementInvalid, UsageError
from vmjitter.model.judge import Target
from vmjitter.report import compare_json, json_out
from vmjitter.report.comparable import (
    CONDITION_NAMES,
    Compared,
    Group,
    Member,
    compare_groups,
    group_of,
)
from vmjitter.report.compare_figure import draw_comparison
from vmjitter.report.compare_text import print_comparison
from vmjitter.report.html.page import write_page
from vmjitter.report.importers.as_run import open_results
from vmjitter.report.result import RunResult, info_target, judge
from vmjitter.stats.comparison import PRIMARY, Metric
from vmjitter.store.atomic import writing
from vmjitter.store.reader import is_run, read_info, read_run
from vmjitter.store.rundir import FIGURES_DIR, REPORT_FILE
from vmjitter.store.seal import is_sealed, seal_run, update_checksums, verify_checksums

_HELP = f"""Compare before and after: is B better or worse than A, in what, and by how much?

A and B are run directories or result files of other tools; RUN:SCENARIO names one scenario of a \
run, and several of them, separated by commas, form one side. A alone is a run that measured two \
scenarios in turn, as `vmjitter run PLAN --compare X,Y` does: that is the way to a result that can \
be trusted.

A trial (one boot) counts as one observation, however many wake-ups it has. With fewer than 4 \
trials on a side the answer is INCONCLUSIVE. What must be the same on both sides \
({", ".join(CONDITION_NAMES)}) is checked.

Examples:

  vmjitter run paper --compare kernel-io,kernel-io-mitigated --rounds 4

  vmjitter compare runs/monday -o figure.svg

  vmjitter compare runs/monday --scenarios kernel-io,kernel-io-mitigated --deadline 5ms

  vmjitter compare runs/old:kernel-io runs/new:kernel-io --allow host-kernel

  vmjitter compare a1.json,a2.json,a3.json,a4.json b1.json,b2.json,b3.json,b4.json

Exit status: 0 B is better, or no difference is shown; 1 error; 2 usage, or they cannot be \
compared; 3 B is worse, with the stated confidence; 4 inconclusive: too few trials.
"""

_PRIMARY_HELP = (
    "The figure that decides first, if it was chosen before the data were seen. [default: max]"
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compare", help=_HELP, rich_help_panel="Judge")(compare)


def compare(
    before: Annotated[
        str, typer.Argument(metavar="A", help="Before: a run, a file, RUN:SCENARIO.")
    ],
    after: Annotated[
        str | None, typer.Argument(metavar="[B]", help="After. Without it, A holds both.")
    ] = None,
    scenarios: Annotated[
        str | None,
        typer.Option("--scenarios", metavar="X,Y", help="Of A: the one before, the one after."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="NAME", help="This condition may differ; repeatable."),
    ] = None,
    primary: Annotated[
        str | None, typer.Option("--primary", metavar="FIGURE", help=_PRIMARY_HELP)
    ] = None,
    deadline: Deadline = None,
    max_misses_per_hour: MaxMisses = None,
    confidence: Confidence = None,
    details: Annotated[
        bool, typer.Option("--details", help="Also the figures of each trial.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw a figure: .svg, .png or .pdf.")
    ] = None,
) -> None:
    """See `_HELP`."""
    chosen = _metric(primary)
    options = (deadline, max_misses_per_hour, confidence)
    target = retarget(_first_target(before), *options)
    groups = _two_sides(before, after, scenarios, _Results(target))
    compared = compare_groups(*groups, target, allow=allow or (), primary=chosen)
    if output is not None:
        draw_comparison(compared, output)
    if as_json:
        typer.echo(compare_json.to_json(compared))
    else:
        _print(compared, {"Figure": output} if output else {}, details=details)
    raise typer.Exit(compared.exit_status)


def finish_comparison(path: Path, *, as_json: bool) -> None:
    """Seal a run that has just measured two scenarios in turn, and compare them.

    Raises:
        VmjitterError: a file cannot be read or written.
        MeasurementInvalid: the trials were not measured under the same conditions.
        typer.Exit: else, with the exit status that the comparison means.
    """
    seal_run(path)
    result = _checked(judge(read_run(path)))
    written = _write_page(result)
    before, after = _pair(result, None)
    groups = _group(before, [result], before), _group(after, [result], after)
    try:
        compared = compare_groups(*groups, result.target)
    except UsageError as error:
        # The user asked for nothing wrong: a condition changed while it was measured.
        _echo_run(result, None, as_json=as_json)
        raise MeasurementInvalid(
            error.message, hint=f"vmjitter compare {path} compares in spite of it, with --allow"
        ) from error
    written |= _write_figure(compared, path / FIGURES_DIR / f"compare-{before}-{after}.svg")
    update_checksums(path, written.values())
    if not as_json:
        _print(compared, written, details=True)
    _echo_run(result, compared, as_json=as_json)
    raise typer.Exit(compared.exit_status)


def _echo_run(result: RunResult, compared: Compared | None, *, as_json: bool) -> None:
    """The run as JSON, with its comparison."""
    if as_json:
        comparison = compare_json.to_data(compared) if compared else None
        data = {**json_out.to_data(result), "comparison": comparison}
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def _write_page(result: RunResult) -> dict[str, Path]:
    """The page of a run that has just been measured, by the word for it."""
    page = result.run.path / REPORT_FILE
    write_page(result, page)
    update_checksums(result.run.path, [page])
    return {"Report": page}


def _write_figure(compared: Compared, file: Path) -> dict[str, Path]:
    """The figure, by the word for it, if there is something to draw."""
    if compared.comparison.curves is None:
        return {}
    with writing(file):
        file.parent.mkdir(exist_ok=True)
    draw_comparison(compared, file)
    return {"Figure": file}


def _print(compared: Compared, written: dict[str, Path], *, details: bool) -> None:
    console = stdout()
    print_comparison(console, compared, details=details)
    console.print()
    for word, path in written.items():
        console.print(f" {word + ':':<8} {path}", soft_wrap=True, markup=False)


def _metric(name: str | None) -> Metric:
    if name is None:
        return PRIMARY
    try:
        return Metric(name)
    except ValueError:
        raise UsageError(
            f"--primary {name}: there is no such figure",
            hint=nearest(name, [metric.value for metric in Metric]),
        ) from None


# -- which trials --------------------------------------------------------------------------------


class _Results:
    """Runs and files, each read once, judged by one target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known: dict[Path, RunResult] = {}

    def of(self, path: Path) -> RunResult:
        """Read it.

        Raises:
            VmjitterError: it cannot be read.
        """
        key = path.resolve()
        if key not in self._known:
            self._known[key] = _checked(judge(open_results(path, self._target)))
        return self._known[key]


def _checked(result: RunResult) -> RunResult:
    """A result whose run was compared with its checksums."""
    run = result.run
    if is_run(run.path) and is_sealed(run.path):
        run = dataclasses.replace(run, notes=(*run.notes, *verify_checksums(run.path)))
    return dataclasses.replace(result, run=run)


def _first_target(before: str) -> Target:
    """What the first side was held against when it was measured."""
    path, _ = _place(_places(before)[0])
    return info_target(read_info(path)) if is_run(path) else NO_TARGET


def _places(text: str) -> list[str]:
    """The parts of one side; a path with a comma in it is one part."""
    if Path(text).exists():
        return [text]
    return [part for part in text.split(",") if part] or [text]


def _place(text: str) -> tuple[Path, str | None]:
    """A path and perhaps a scenario."""
    head, colon, scenario = text.rpartition(":")
    if not colon or Path(text).exists() or not Path(head).exists():
        return Path(text), None
    return Path(head), scenario


def _two_sides(
    before: str, after: str | None, scenarios: str | None, results: _Results
) -> tuple[Group, Group]:
    if after is None:
        result = results.of(Path(before))
        names = _pair(result, scenarios)
        early, late = (_group(name, [result], name) for name in names)
        return early, late
    if scenarios is not None:
        raise UsageError(
            "--scenarios names the two sides of one run, but there are two",
            hint=f"write {before}:SCENARIO and {after}:SCENARIO",
        )
    sides = [_side(text, results) for text in (before, after)]
    trials = [{_identity(member) for member in _all(group)} for group in sides]
    if trials[0] & trials[1]:
        raise UsageError(
            f"{before} and {after} are the same trials, or have some in common",
            hint="name two runs, or two scenarios of one run: RUN:SCENARIO",
        )
    return sides[0], sides[1]


def _identity(member: Member) -> tuple[Path, str, int]:
    """Which trial it is; all of an imported file have one path."""
    trial = member.trial
    return trial.trial.path.resolve(), trial.scenario, trial.status.round


def _all(group: Group) -> Iterable[Member]:
    return (*group.members, *group.excluded)


def _side(text: str, results: _Results) -> Group:
    members: list[Member] = []
    for part in _places(text):
        path, scenario = _place(part)
        result = results.of(path)
        members += _members([result], scenario or _only_scenario(result, part))
    return group_of(text, members)


def _group(label: str, results: Sequence[RunResult], scenario: str) -> Group:
    return group_of(label, _members(results, scenario))


def _members(results: Iterable[RunResult], scenario: str) -> list[Member]:
    members = []
    for result in results:
        found = [trial for trial in result.trials if trial.scenario == scenario]
        if not found:
            raise UsageError(
                f"{result.run.path} has no trial of {scenario!r}",
                hint=nearest(scenario, _scenarios(result)),
            )
        members += [Member(run=result.run, trial=trial) for trial in found]
    return members


def _scenarios(result: RunResult) -> list[str]:
    return list(dict.fromkeys(trial.scenario for trial in result.trials))


def _only_scenario(result: RunResult, part: str) -> str:
    names = _scenarios(result)
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageError(f"{part} holds no trial", hint=f"see vmjitter report {part}")
    raise UsageError(
        f"{part} holds several scenarios: {', '.join(names)}",
        hint=f"name one of them, e.g. {part}:{names[0]}",
    )


def _pair(result: RunResult, scenarios: str | None) -> tuple[str, str]:
    """The scenarios before and after of one run."""
    names = _scenarios(result)
    if scenarios is not None:
        chosen = [name.strip() for name in scenarios.split(",")]
        if len(chosen) != 2 or chosen[0] == chosen[1]:
            raise UsageError(
                f"--scenarios {scenarios}: two different scenarios are compared",
                hint=f"write e.g. --scenarios {','.join(names[:2])}",
            )
        return chosen[0], chosen[1]
    if result.run.info.pair is not None:
        return result.run.info.pair
    if len(names) != 2:
        raise UsageError(
            f"{result.run.path} does not say which two scenarios to compare: it has "
            f"{', '.join(names) or 'none'}",
            hint="name them with --scenarios X,Y, or a second run",
        )
    return names[0], names[1]
