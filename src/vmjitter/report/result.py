"""What a run says, as records: the one source of table, JSON and figures.

Pure: the same run gives the same records every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vmjitter.model.run import TrialState, TrialStatus
from vmjitter.stats.summary import Summary, summarize
from vmjitter.store.reader import Run, Trial
from vmjitter.units import NS_PER_MS

TCG_NOTE = "TCG: absolute times are not those of a KVM host"

EXIT_HOLDS = 0
EXIT_MISSED = 3
EXIT_INCONCLUSIVE = 4


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One trial, judged.

    Attributes:
        reasons: why its figures must not be used; empty if nothing speaks against them.
        incomplete: it did not come to its end, or not every activation is stored.
        conditions: what every table and figure has to say beside the figures.
        notes: what could not be read, and what was strange.
    """

    status: TrialStatus
    summary: Summary
    recorded: int
    loops: int
    period_ns: int
    reasons: tuple[str, ...]
    incomplete: bool
    conditions: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def scenario(self) -> str:
        """Name of the scenario."""
        return self.status.scenario

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

    @cached_property
    def missed(self) -> tuple[TrialResult, ...]:
        """Valid trials that missed the deadline."""
        return tuple(trial for trial in self.trials if trial.valid and trial.summary.misses)

    @property
    def exit_status(self) -> int:
        """0: the deadline holds or none was given; 3: missed; 4: invalid or incomplete.

        A miss that was seen in a sound trial stays a miss, whatever the other trials are like.
        """
        if self.missed:
            return EXIT_MISSED
        sound = self.trials and all(trial.valid for trial in self.trials)
        return EXIT_HOLDS if sound and not self.not_measured else EXIT_INCONCLUSIVE

    def trial(self, scenario: str) -> TrialResult | None:
        """The result of a scenario, or None if there is none."""
        return next((trial for trial in self.trials if trial.scenario == scenario), None)


def paper_text(value_ns: int) -> str:
    """A delay from the paper, with the digits that the paper gives."""
    return f"{value_ns / NS_PER_MS:.2f} ms"


def judge(run: Run) -> RunResult:
    """Turn a stored run into its results."""
    deadline_ns = run.info.deadline_ns
    return RunResult(run=run, trials=tuple(_judge(trial, deadline_ns) for trial in run.trials))


def _judge(trial: Trial, deadline_ns: int | None) -> TrialResult:
    summary = summarize(trial.latency_ns, deadline_ns=deadline_ns)
    return TrialResult(
        status=trial.status,
        summary=summary,
        recorded=trial.recorded,
        loops=trial.loops,
        period_ns=trial.period_ns,
        reasons=_reasons(trial, summary),
        incomplete=trial.incomplete,
        conditions=_conditions(trial.status),
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


def _conditions(status: TrialStatus) -> tuple[str, ...]:
    """The stored conditions; the word about TCG must not be missing, whoever wrote them."""
    if status.accel != "tcg" or any("tcg" in text.lower() for text in status.conditions):
        return status.conditions
    return (TCG_NOTE, *status.conditions)
