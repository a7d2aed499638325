"""`vmjitter run`: measure a plan."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from vmjitter.bench import local, sim
from vmjitter.cli import compare_cmd, report_cmd
from vmjitter.cli.live import LiveLines
from vmjitter.cli.output import interruptible, stderr
from vmjitter.config.resolve import Choices, Resolved, resolve
from vmjitter.config.sources import Value, builtin_machines, builtin_plans
from vmjitter.effects.clock import utc_now
from vmjitter.errors import UsageError
from vmjitter.model.plan import Plan
from vmjitter.model.sim import Bench, Clock
from vmjitter.stats.comparison import MIN_TRIALS
from vmjitter.units import parse_duration

_HELP = """Measure a plan: boot its guests, load them, record every wake-up.

PLAN is a built-in plan or a TOML file. Every setting can be overridden for this run; plan.toml \
in the run directory says what was used and where each value came from.

Examples:

  vmjitter run paper                              4 x 240000 wake-ups

  vmjitter run paper --loops 10000                the same, 10 s per scenario

  vmjitter run paper --only kernel-io --only native

  vmjitter run paper --set probe.period=500us --set load.udp.rate=1000

  vmjitter run my-plan.toml --output runs/monday --json

  vmjitter run paper --deadline 5ms --max-misses-per-hour 1 --confidence 95

  vmjitter run paper --bench sim --loops 10000      in a simulated KVM host, in virtual time

  vmjitter run paper --trace --breaktrace 5ms     end at the first wake-up later than 5 ms

  vmjitter run paper --compare kernel-io,kernel-io-mitigated     before and after, in turn

Exit status: 0 the deadline holds or none was given; 1 error; 2 usage; 3 deadline missed; \
4 inconclusive: too short for the target, or a measurement is invalid or incomplete. With \
--compare it is that of `vmjitter compare`: 3 the second is worse, 4 inconclusive.
"""


def _plan_names() -> list[str]:
    return list(builtin_plans())


def _machine_names() -> list[str]:
    return list(builtin_machines())


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("run", help=_HELP, rich_help_panel="Measure")(run)


def run(
    plan: Annotated[
        str,
        typer.Argument(
            metavar="PLAN",
            help="Name of a built-in plan, or a TOML file.",
            autocompletion=_plan_names,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Run directory to make.", show_default="runs/<time>-<plan>"),
    ] = None,
    loops: Annotated[
        int | None, typer.Option("-l", "--loops", help="Activations per scenario.")
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option("-D", "--duration", help="Length per scenario, e.g. 10m, instead of --loops."),
    ] = None,
    interval: Annotated[
        str | None, typer.Option("-i", "--interval", help="Period, e.g. 1ms; a number means µs.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option("-p", "--priority", help="Real-time priority of the probe.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Measure this scenario only; repeatable.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare", metavar="A,B", help="Measure these two in turn (ABBA), and compare them."
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds", min=1, help="Trials of each scenario. [default with --compare: 4]"
        ),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Record host, guest and threads, to explain late wake-ups."),
    ] = False,
    breaktrace: Annotated[
        str | None,
        typer.Option(
            "-b",
            "--breaktrace",
            metavar="SPAN",
            help="--trace, and end at the first wake-up later than this; a number means µs.",
        ),
    ] = None,
    trace_threshold: Annotated[
        str | None,
        typer.Option(
            "--trace-threshold",
            metavar="SPAN",
            help="--trace, but keep only what surrounds wake-ups later than this.",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", help="A later wake-up is a miss, e.g. 5ms.")
    ] = None,
    max_misses_per_hour: Annotated[
        float | None,
        typer.Option("--max-misses-per-hour", help="Allowed misses; without it any miss fails."),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option("--confidence", help="Of every bound, in percent. [default: 95]"),
    ] = None,
    kernel: Annotated[
        Path | None, typer.Option("--kernel", help="Guest kernel (bzImage) of your own.")
    ] = None,
    modules: Annotated[
        Path | None, typer.Option("--modules", help="Modules that belong to --kernel.")
    ] = None,
    bench: Annotated[
        Bench | None,
        typer.Option("--bench", help="local, or sim: a simulated KVM host. [default: local]"),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            "--machine",
            help="Simulated host: a name or a TOML file.",
            autocompletion=_machine_names,
        ),
    ] = None,
    clock: Annotated[
        Clock | None,
        typer.Option("--clock", help="Of the simulated host: virtual (instructions), or real."),
    ] = None,
    disk_latency: Annotated[
        str | None,
        typer.Option("--disk-latency", help="Of the simulated host's disk, e.g. 8ms."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", help="Simulated hosts at the same time.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout.")
    ] = False,
) -> None:
    """See `_HELP`."""
    flags = {
        "probe.loops": ("--loops", loops),
        "probe.period": ("--interval", _micros(interval)),
        "probe.priority": ("--priority", priority),
        "plan.rounds": ("--rounds", rounds),
        "judge.deadline": ("--deadline", deadline),
        "judge.max_misses_per_hour": ("--max-misses-per-hour", max_misses_per_hour),
        "judge.confidence": ("--confidence", confidence),
        "trace.enabled": ("--trace", trace or None),
        "trace.break": ("--breaktrace", _micros(breaktrace)),
        "trace.threshold": ("--trace-threshold", _micros(trace_threshold)),
        "bench.name": ("--bench", bench and bench.value),
        "sim.machine": ("--machine", machine),
        "sim.clock": ("--clock", clock and clock.value),
        "sim.disk_latency": ("--disk-latency", disk_latency),
        "sim.jobs": ("--jobs", jobs),
        "guest.kernel_file": ("--kernel", str(kernel.absolute()) if kernel else None),
        "guest.modules_dir": ("--modules", str(modules.absolute()) if modules else None),
    }
    choices = Choices(
        environ=os.environ,
        assignments=assignments or (),
        flags={key: Value(raw, flag) for key, (flag, raw) in flags.items() if raw is not None},
        only=only or (),
    )
    if compare is not None:
        choices = _comparing(choices, compare)
    resolved = _resolve(plan, choices, duration)
    if compare is not None:
        _check_alike(resolved.plan)
    path = output or _default_output(resolved.plan.name)
    kept = f"what was measured can be read: vmjitter report {path}"
    with interruptible(kept), LiveLines(stderr(), resolved.plan, path) as live:
        measure = sim.run_plan if resolved.plan.bench is Bench.SIM else local.run_plan
        measure(resolved, path, say=live.say, report=live.report)
        live.say("figures")
    finish = report_cmd.finish_run if compare is None else compare_cmd.finish_comparison
    finish(path, as_json=as_json)


def _check_alike(plan: Plan) -> None:
    """Refuse before the measurement what would be refused after it."""
    one, other = plan.scenarios
    for name, differs in (("load", one.loads != other.loads), ("accel", one.where != other.where)):
        if differs:
            raise UsageError(
                f"--compare: {one.name} and {other.name} differ in more than what is to be "
                f"compared: in where they run or what disturbs them ({name})",
                hint=f"measure them with --only {one.name} --only {other.name} --rounds "
                f"{plan.rounds}, and compare in spite of it: vmjitter compare RUN --scenarios "
                f"{one.name},{other.name} --allow {name}",
            )


def _micros(span: str | None) -> str | None:
    """As in cyclictest, a number without a unit means µs."""
    return f"{span}us" if span is not None and span.isdecimal() else span


def _comparing(choices: Choices, compare: str) -> Choices:
    """The choices that measure two scenarios in turn."""
    flag = f"--compare {compare}"
    names = [name.strip() for name in compare.split(",")]
    if len(names) != 2 or names[0] == names[1] or not all(names):
        raise UsageError(
            f"{flag}: two different scenarios are compared", hint="write --compare BEFORE,AFTER"
        )
    if choices.only:
        raise UsageError("--compare and --only exclude each other", hint="leave --only out")
    rounds = choices.flags.get("plan.rounds", Value(MIN_TRIALS, "--compare"))
    if isinstance(rounds.raw, int) and rounds.raw < MIN_TRIALS:
        raise UsageError(
            f"--rounds {rounds.raw}: so few trials cannot show a difference, however large it is",
            hint=f"measure at least {MIN_TRIALS} of each; {MIN_TRIALS} is the default",
        )
    pair = Value(names, "--compare")
    return dataclasses.replace(
        choices,
        flags={**choices.flags, "plan.rounds": rounds, "plan.pair": pair},
        only=names,
        only_flag="--compare",
    )


def _resolve(plan: str, choices: Choices, duration: str | None) -> Resolved:
    resolved = resolve(plan, choices)
    if duration is None:
        return resolved
    if "probe.loops" in choices.flags:
        raise UsageError("--duration and --loops exclude each other", hint="give one of them")
    length_ns = parse_duration(f"{duration}s" if duration.isdecimal() else duration)
    loops = Value(length_ns // resolved.plan.probe.period_ns, "--duration")
    return resolve(
        plan, dataclasses.replace(choices, flags={**choices.flags, "probe.loops": loops})
    )


def _default_output(plan: str) -> Path:
    return Path("runs") / f"{utc_now():%Y%m%d-%H%M%S}-{plan}"
