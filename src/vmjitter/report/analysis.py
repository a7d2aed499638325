"""What the statistics say of one trial: each part is computed when it is asked for, and once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vmjitter.model.judge import Target
from vmjitter.stats import quantiles, verdict
from vmjitter.stats.convergence import Convergence, convergence
from vmjitter.stats.periodicity import Periodicity, periods
from vmjitter.stats.stationarity import Stationarity, stationarity
from vmjitter.stats.tail import Projection, project
from vmjitter.stats.verdict import Verdict
from vmjitter.store.reader import Trial
from vmjitter.units import NS_PER_S


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """One trial against its target.

    Attributes:
        invalid: reasons why its figures must not be used.
    """

    trial: Trial
    target: Target
    invalid: tuple[str, ...]

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the deadline is held, and how sure that is."""
        return verdict.judge(
            self.trial.digest, self.target, lacks=self.trial.lacks, invalid=self.invalid
        )

    @cached_property
    def estimates(self) -> tuple[quantiles.Estimate, ...]:
        """Quantiles with their intervals."""
        return quantiles.estimates(
            self.trial.digest.histogram, confidence_percent=self.target.confidence_percent
        )

    @cached_property
    def convergence(self) -> Convergence | None:
        """Whether the maximum has settled; None if the order of the wake-ups is not known."""
        return convergence(self.trial.digest)

    @cached_property
    def stationarity(self) -> Stationarity | None:
        """Whether the trial was the same from begin to end; None as above, or too short."""
        return stationarity(self.trial.digest)

    @cached_property
    def tail(self) -> Projection:
        """The projection beyond what was seen, or why there is none."""
        return project(self.trial.digest, confidence_percent=self.target.confidence_percent)

    @cached_property
    def periods(self) -> Periodicity | None:
        """Periodic disturbers; None if the order of the wake-ups or the period is not known."""
        return periods(self.trial.digest, known=self._load_periods())

    def _load_periods(self) -> tuple[tuple[str, int], ...]:
        """The periods of the trial's own loads."""
        return tuple(
            (f"load {load.name}", NS_PER_S // load.rate_wanted)
            for load in self.trial.status.loads
            if load.rate_wanted
        )
