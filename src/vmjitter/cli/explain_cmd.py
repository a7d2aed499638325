"""`vmjitter explain`: what made each late wake-up late."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmjitter.cli.output import stdout
from vmjitter.errors import UsageError
from vmjitter.report.explain import Explanation, Options, explain_run, trial_file_name
from vmjitter.report.explain_json import to_json
from vmjitter.report.explain_text import print_explanation, print_story
from vmjitter.report.perfetto import perfetto
from vmjitter.store.atomic import write_text
from vmjitter.store.reader import read_run
from vmjitter.units import parse_duration

_HELP = """Show what made each late wake-up of a run late: per cause its time in microseconds, \
host and guest on one clock. What no cause accounts for is shown as unexplained.

RUN is a run directory, best one that was measured with `vmjitter run ... --trace`. Without a \
trace it says what can be said, and which command records one.

The column "lift" says how much more often late wake-ups have a cause than ordinary ones of the \
same run: what ordinary ones have as often is not to blame.

Examples:

  vmjitter explain runs/monday

  vmjitter explain runs/monday --threshold 200us --top 50

  vmjitter explain runs/monday --spike 1                 the latest wake-up, step by step

  vmjitter explain runs/monday --scenario kernel-io -o worst.json     open it in ui.perfetto.dev

  vmjitter explain runs/monday --json | jq '.spikes[0].causes'

Exit status: 0 explained, or there was nothing late; 1 error; 2 usage.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("explain", help=_HELP, rich_help_panel="Explain")(explain)


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    scenario: Annotated[str | None, typer.Option("--scenario", help="Only this scenario.")] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold",
            metavar="SPAN",
            help="Explain wake-ups later than this. [default: the deadline, or clearly late ones]",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, help="Only the latest N of each trial. [default: 1000]"),
    ] = None,
    spike: Annotated[
        int | None,
        typer.Option("--spike", min=1, metavar="K", help="Tell what happened in the K-th latest."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the worst as a timeline for ui.perfetto.dev."),
    ] = None,
    worst: Annotated[
        int, typer.Option("--worst", min=1, help="So many wake-ups into the timeline.")
    ] = 20,
) -> None:
    """See `_HELP`."""
    if as_json and spike is not None:
        raise UsageError(
            "--json and --spike exclude each other",
            hint=f"--json holds every spike: jq '.spikes[] | select(.number == {spike})'",
        )
    threshold_ns = None if threshold is None else parse_duration(threshold)
    options = Options(scenario=scenario, threshold_ns=threshold_ns, top=top)
    explanation = explain_run(read_run(run), options)
    written = _write(explanation, output, worst) if output is not None else []
    if as_json:
        typer.echo(to_json(explanation))
        return
    _show(explanation, spike)
    for file in written:
        stdout().print(f" Timeline: {file}", soft_wrap=True, markup=False)


def _show(explanation: Explanation, spike: int | None) -> None:
    if spike is None:
        print_explanation(stdout(), explanation)
        return
    print_story(stdout(), explanation, spike)


def _write(explanation: Explanation, output: Path, worst: int) -> list[Path]:
    """One timeline per trial that has something to show.

    Raises:
        UsageError: there is nothing to show.
        DataError: a file cannot be written.
    """
    trials = [trial for trial in explanation.trials if trial.spikes]
    if not trials:
        raise UsageError(
            "there is no late wake-up to draw", hint="lower --threshold, e.g. --threshold 20us"
        )
    written: list[Path] = []
    for trial in trials:
        file = trial_file_name(output, trial, several=len(trials) > 1)
        write_text(file, perfetto(trial, worst=worst))
        written.append(file)
    return written
