"""One trial from its first status to its last, whatever happens in between."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass

from vmjitter.effects.clock import utc_now
from vmjitter.effects.scratch import anonymous_memory
from vmjitter.errors import VmjitterError
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.model.plan import Plan, Turn, Where
from vmjitter.model.run import TrialState, TrialStatus
from vmjitter.session.context import Guest, TrialContext
from vmjitter.session.guest_trial import measure_in_guest
from vmjitter.session.host_trial import measure_on_host
from vmjitter.session.outcome import Outcome
from vmjitter.session.progress import Report
from vmjitter.session.validity import invalid_reasons
from vmjitter.store.rundir import RunWriter, TrialWriter


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all trials of a run share.

    Attributes:
        guest: image and accelerator; None if no scenario needs a guest.
        conditions: what every table and figure has to say beside the figures of all trials.
        repeated: why trials are measured again, see `TrialStatus`.
        round: of a trial that was begun elsewhere, see `Turn`; 0 to go by the turn itself.
    """

    plan: Plan
    guest: Guest | None
    run: RunWriter
    report: Report
    conditions: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    round: int = 0


def first_status(plan: Plan, turn: Turn) -> TrialStatus:
    """The status of a trial that has not begun."""
    scenario = turn.scenario
    return TrialStatus(
        scenario=scenario.name,
        title=scenario.title,
        state=TrialState.PENDING,
        loops=plan.probe.loops,
        period_ns=plan.probe.period_ns,
        where=scenario.where.value,
        paper_max_ns=scenario.paper_max_ns,
        round=turn.round,
        mitigations=scenario.mitigations,
    )


def run_trial(setting: Setting, index: int, turn: Turn) -> TrialStatus:
    """Measure one scenario into its own directory and return its final status.

    Raises:
        VmjitterError: it failed; the status on disk says why and what was measured is there.
        KeyboardInterrupt: likewise, with the state "interrupted".
    """
    turn = dataclasses.replace(turn, round=turn.round or setting.round)
    status = dataclasses.replace(
        first_status(setting.plan, turn),
        state=TrialState.RUNNING,
        started_utc=_now(),
        repeated=setting.repeated,
    )
    with setting.run.start_trial(index, status) as writer:
        outcome = Outcome(conditions=list(setting.conditions))
        try:
            _measure(setting, turn, writer, outcome, status)
        except BaseException as error:
            state = TrialState.INTERRUPTED
            if isinstance(error, VmjitterError):
                state = TrialState.FAILED
            _finish(writer, status, outcome, state=state, error=_describe(error))
            raise
        reasons = _judge(setting.plan, outcome)
        return _finish(writer, status, outcome, state=TrialState.DONE, invalid=reasons)


def _measure(
    setting: Setting,
    turn: Turn,
    writer: TrialWriter,
    outcome: Outcome,
    status: TrialStatus,
) -> None:
    scenario = turn.scenario
    with ExitStack() as stack:
        shm_fd = stack.enter_context(anonymous_memory(SHM_BYTES))
        shm = stack.enter_context(SharedMemory(shm_fd))
        context = TrialContext(
            plan=setting.plan,
            scenario=scenario,
            guest=setting.guest,
            shm=shm,
            shm_fd=shm_fd,
            writer=writer,
            outcome=outcome,
            report=lambda progress: setting.report(dataclasses.replace(progress, round=turn.round)),
            publish=lambda: writer.write_status(outcome.fill(status)),
        )
        if scenario.where is Where.HOST:
            measure_on_host(context)
        else:
            measure_in_guest(context)


def _judge(plan: Plan, outcome: Outcome) -> tuple[str, ...]:
    measured = outcome.measured
    if measured is None:
        return ("nothing was measured",)
    return invalid_reasons(
        plan.probe, measured.proof, measured.loads, outcome.knobs, lost=measured.lost
    )


def _finish(
    writer: TrialWriter,
    status: TrialStatus,
    outcome: Outcome,
    *,
    state: TrialState,
    error: str = "",
    invalid: tuple[str, ...] = (),
) -> TrialStatus:
    final = dataclasses.replace(
        outcome.fill(status), state=state, error=error, invalid=invalid, ended_utc=_now()
    )
    writer.write_status(final)
    return final


def _describe(error: BaseException) -> str:
    if isinstance(error, VmjitterError):
        return "\n".join(part for part in (error.message, error.evidence) if part)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by the user"
    return f"{type(error).__name__}: {error}"


def _now() -> str:
    return utc_now().isoformat(timespec="seconds")
