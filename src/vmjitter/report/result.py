"""What a run says, as records: the one source of table, JSON and figures.

Pure: the same run gives the same records every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vmjitter.model.judge import Target
from vmjitter.model.run import RunInfo, TrialState, TrialStatus
from vmjitter.report.analysis import Analysis
from vmjitter.stats.summary import Summary, summary_of
from vmjitter.stats.verdict import Outcome, Verdict
from vmjitter.store.reader import Run, Trial
from vmjitter.units import NS_PER_MS

TCG_NOTE = "TCG: absolute times are not those of a KVM host"

EXIT_HOLDS = 0
EXIT_MISSED = 3
EXIT_INCONCLUSIVE = 4

_STATUS = {
    Outcome.PASS: EXIT_HOLDS,
    Outcome.NONE: EXIT_HOLDS,
    Outcome.FAIL: EXIT_MISSED,
    Outcome.INCONCLUSIVE: EXIT_INCONCLUSIVE,
}


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One trial, judged.

    Attributes:
        trial: what was stored of it.
        analysis: what the statistics say of it, each part computed when it is asked for.
        reasons: why its figures must not be used; empty if nothing speaks against them.
        incomplete: it did not come to its end, or not every activation is stored.
        conditions: what every table and figure has to say beside the figures.
        notes: what could not be read, and what was strange.
    """

    trial: Trial
    summary: Summary
    analysis: Analysis
    recorded: int
    loops: int
    period_ns: int
    reasons: tuple[str, ...]
    incomplete: bool
    conditions: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def status(self) -> TrialStatus:
        """Its conditions and proofs."""
        return self.trial.status

    @property
    def scenario(self) -> str:
        """Name of the scenario."""
        return self.status.scenario

    @property
    def name(self) -> str:
        """Name of the trial: the scenario, and the round if it is measured several times."""
        number = self.status.round
        return f"{self.scenario} #{number}" if number else self.scenario

    @property
    def verdict(self) -> Verdict:
        """Whether the deadline is held, and how sure that is."""
        return self.analysis.verdict

    @property
    def valid(self) -> bool:
        """Whether its figures may be used: it is complete, and every proof holds."""
        return not self.reasons and not self.incomplete

    @property
    def incomplete_text(self) -> str:
        """How much of it there is, or empty if all."""
        return f"incomplete: {self.recorded} of {self.loops}" if self.incomplete else ""

    @property
    def ratio(self) -> float | None:
        """Our worst latency by the paper's, or None where one of them does not exist."""
        if self.status.paper_max_ns is None or self.summary.max_ns is None:
            return None
        return self.summary.max_ns / self.status.paper_max_ns


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run, judged.

    Attributes:
        run: what was stored.
        trials: in the order in which they were measured.
    """

    run: Run
    trials: tuple[TrialResult, ...]

    @property
    def not_measured(self) -> tuple[str, ...]:
        """Scenarios of the plan that have no trial."""
        return self.run.not_measured

    @property
    def target(self) -> Target:
        """What it is held against."""
        return target_of(self.run)

    @cached_property
    def outcome(self) -> Outcome:
        """The verdict of the whole: the worst of its trials.

        A failure in a sound trial stays one, whatever the other trials are like; a trial that is
        invalid, incomplete or missing makes the rest inconclusive.
        """
        outcomes = {trial.verdict.outcome for trial in self.trials}
        if Outcome.FAIL in outcomes:
            return Outcome.FAIL
        sound = self.trials and all(trial.valid for trial in self.trials)
        if Outcome.INCONCLUSIVE in outcomes or not sound or self.not_measured:
            return Outcome.INCONCLUSIVE
        return Outcome.PASS if self.target.deadline_ns is not None else Outcome.NONE

    @property
    def exit_status(self) -> int:
        """0: the deadline holds or none was given; 3: missed; 4: inconclusive, see `outcome`."""
        return _STATUS[self.outcome]

    def trial(self, scenario: str) -> TrialResult | None:
        """The result of a scenario, or None if there is none."""
        return next((trial for trial in self.trials if trial.scenario == scenario), None)


def paper_text(value_ns: int) -> str:
    """A delay from the paper, with the digits that the paper gives."""
    return f"{value_ns / NS_PER_MS:.2f} ms"


def judge(run: Run) -> RunResult:
    """Turn a stored run into its results."""
    return RunResult(run=run, trials=tuple(_judge(trial, run.info) for trial in run.trials))


def target_of(run: Run) -> Target:
    """What a run is held against."""
    return info_target(run.info)


def info_target(info: RunInfo) -> Target:
    """What a run is held against, from its head."""
    return Target(
        deadline_ns=info.deadline_ns,
        max_misses_per_hour=info.max_misses_per_hour,
        confidence_percent=info.confidence_percent,
    )


def _judge(trial: Trial, info: RunInfo) -> TrialResult:
    target = info_target(info)
    digest = trial.digest
    summary = summary_of(digest.histogram, overruns=digest.overruns, deadline_ns=target.deadline_ns)
    reasons = _reasons(trial, summary)
    unfinished = ("it did not come to its end",) if trial.incomplete and not reasons else ()
    return TrialResult(
        trial=trial,
        summary=summary,
        analysis=Analysis(trial=trial, target=target, invalid=(*reasons, *unfinished)),
        recorded=trial.recorded,
        loops=trial.loops,
        period_ns=trial.period_ns,
        reasons=reasons,
        incomplete=trial.incomplete,
        conditions=_conditions(trial.status, info),
        notes=trial.notes,
    )


def _reasons(trial: Trial, summary: Summary) -> tuple[str, ...]:
    reasons = list(trial.status.invalid)
    if trial.status.state is TrialState.FAILED:
        reasons.append(f"the trial failed: {trial.status.error or 'no reason was stored'}")
    if not trial.readable:
        reasons.append("its files cannot be read completely")
    elif not summary.count and trial.status.state is TrialState.DONE:
        reasons.append("no wake-up was recorded")
    return tuple(reasons)


def _conditions(status: TrialStatus, info: RunInfo) -> tuple[str, ...]:
    """The stored conditions, and the guest's kernel where others of the run have another.

    The word about TCG must not be missing, whoever wrote them.
    """
    facts = (info.qemu.get(f"{name}.{status.scenario}") for name in ("kernel", "kernel_release"))
    kernel = " ".join(fact for fact in facts if fact)
    stored = (*status.conditions, *((f"guest kernel {kernel}",) if kernel else ()))
    if status.accel != "tcg" or any("tcg" in text.lower() for text in stored):
        return stored
    return (TCG_NOTE, *stored)
