"""The bench `local`: every trial of a plan, one after another, on this machine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import vmjitter
from vmjitter.config.resolve import Resolved
from vmjitter.effects.clock import utc_now
from vmjitter.effects.systree import SysTree
from vmjitter.model.run import RUN_FORMAT, RunInfo, TrialState, TrialStatus
from vmjitter.model.sim import Bench
from vmjitter.session.context import Guest
from vmjitter.session.prepare import Say, host_facts, prepare_guest, qemu_facts
from vmjitter.session.progress import Report
from vmjitter.session.trial import Setting, run_trial
from vmjitter.store.rundir import RunWriter


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a run has to say that its own machine does not know.

    Attributes:
        bench: name of the bench.
        conditions: what every table and figure has to say beside the figures.
        repeated: why its trials are measured again, see `TrialStatus`.
        round: of its only trial, see `vmjitter.model.plan.Turn`; 0 to go by the plan.
    """

    bench: str = Bench.LOCAL.value
    conditions: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    round: int = 0


def run_plan(resolved: Resolved, output: Path, *, say: Say, report: Report) -> list[TrialStatus]:
    """Measure every scenario of a plan on this machine into the run directory ``output``.

    Args:
        say: told what is being prepared, before the first trial.
        report: told about the running trial about twice a second.

    Raises:
        VmjitterError: the first trial that failed ends the run; what was measured stays readable.
    """
    guest = prepare_guest(resolved.plan, say)
    return measure(resolved, output, guest, Surroundings(), report)


def measure(
    resolved: Resolved,
    output: Path,
    guest: Guest | None,
    surroundings: Surroundings,
    report: Report,
) -> list[TrialStatus]:
    """Measure every scenario with guests that are prepared already; as `run_plan`.

    Raises:
        VmjitterError: the first trial that failed ends the run; what was measured stays readable.
    """
    plan = resolved.plan
    info = RunInfo(
        format=RUN_FORMAT,
        vmjitter=vmjitter.__version__,
        plan=plan.name,
        title=plan.title,
        created_utc=utc_now().isoformat(timespec="seconds"),
        state=TrialState.RUNNING,
        deadline_ns=plan.target.deadline_ns,
        max_misses_per_hour=plan.target.max_misses_per_hour,
        confidence_percent=plan.target.confidence_percent,
        pair=plan.pair,
        scenarios=tuple(scenario.name for scenario in plan.scenarios),
        bench=surroundings.bench,
        host=host_facts(SysTree()),
        qemu=qemu_facts(guest),
    )
    writer = RunWriter.create(output, info, resolved.toml)
    setting = Setting(
        plan=plan,
        guest=guest,
        run=writer,
        report=report,
        conditions=surroundings.conditions,
        repeated=surroundings.repeated,
        round=surroundings.round,
    )
    state = TrialState.FAILED
    try:
        statuses = [
            run_trial(setting, index, turn) for index, turn in enumerate(plan.turns, start=1)
        ]
        state = TrialState.DONE
    except KeyboardInterrupt:
        state = TrialState.INTERRUPTED
        raise
    finally:
        writer.write_info(dataclasses.replace(info, state=state))
    return statuses
