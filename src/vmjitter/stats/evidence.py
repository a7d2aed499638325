"""What a trial says about misses: counted, grouped, and with exact one-sided limits.

Limits of the number of misses per hour, which hold also for misses that come in episodes
(`vmjitter.stats.episodes`):

* upper: that of a sum of episodes that differ in size (Fay and Feuer 1997; for episodes of equal
  size, the upper limit of their number, Garwood 1936, times their size).  If the order of the
  wake-ups is not known, the grouping is taken that gives the highest limit: one episode that holds
  all misses.  Never less than the upper limit of the share (Clopper and Pearson 1934) times the
  activations of an hour.
* lower: the lower limit of the expected number of episodes (Garwood), each of which has one miss
  at least; or, if it is higher, Markov's inequality: what is expected to happen m times happens k
  times or more in at most m / k of all measurements, whatever depends on what.  It is what
  judges a trial in which misses are so dense that all of them are one episode.  To take the
  higher of the two does not err more often than each alone: tests/unit/test_stats_coverage.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vmjitter.model.judge import Lack
from vmjitter.stats.bounds import Limits, first, mean_limits, risk, share_limits, weighted_upper
from vmjitter.stats.digest import Digest
from vmjitter.stats.episodes import episodes
from vmjitter.stats.histogram import Histogram, Late
from vmjitter.units import NS_PER_S

NS_PER_HOUR: Final = 3600 * NS_PER_S


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The misses of a trial.

    Attributes:
        misses: wake-ups that are later than the deadline for certain, and overruns.
        possible: the same with those whose bin holds the deadline; ``misses`` for exact latencies.
        activations: wake-ups and overruns, as far as they are known.
        period_ns: 0 if not known: then nothing can be said per hour.
        episodes: of ``misses``; None if they cannot be grouped because their order is not known.
        squares: the sum of the squares of the numbers of certain misses per episode.
        largest: certain misses in the largest episode; both as of one episode if not grouped.
        confidence_percent: of each limit.
    """

    misses: int
    possible: int
    activations: int
    period_ns: int
    episodes: int | None
    squares: int
    largest: int
    confidence_percent: float

    @property
    def duration_ns(self) -> int:
        """Time that the activations cover; 0 if not known."""
        return self.activations * self.period_ns

    @property
    def hours(self) -> float | None:
        """The same in hours; None if not known."""
        return self.duration_ns / NS_PER_HOUR if self.duration_ns else None

    @property
    def fewest_episodes(self) -> int:
        """The certain misses have so many episodes or more."""
        return min(self.misses, 1) if self.episodes is None else self.episodes

    @property
    def most_episodes(self) -> int:
        """All possible misses have so many episodes or fewer."""
        certain = self.misses if self.episodes is None else self.episodes
        return certain + self.possible - self.misses

    @cached_property
    def share(self) -> Limits:
        """Limits of the share of activations that miss; they take activations as independent."""
        certain = share_limits(
            self.misses, self.activations, confidence_percent=self.confidence_percent
        )
        return Limits(lower=certain.lower, upper=self._share_upper(self.activations))

    @cached_property
    def expected_misses(self) -> Limits:
        """Limits of the expected number of misses in a measurement of this length."""
        grouped = mean_limits(self.fewest_episodes, confidence_percent=self.confidence_percent)
        lower = max(grouped.lower, risk(self.confidence_percent) * self.misses)
        return Limits(lower=lower, upper=self.expected_upper(self.activations))

    @cached_property
    def expected_episodes(self) -> Limits:
        """Likewise of miss episodes."""
        fewest = mean_limits(self.fewest_episodes, confidence_percent=self.confidence_percent)
        most = mean_limits(self.most_episodes, confidence_percent=self.confidence_percent)
        return Limits(lower=fewest.lower, upper=most.upper)

    def expected_upper(self, activations: int) -> float:
        """The upper limit of expected misses, had these misses occurred in so many activations."""
        limit = max(self._grouped_upper, self._share_upper(activations) * activations)
        return min(limit, float(activations))

    def _share_upper(self, activations: int) -> float:
        limits = share_limits(
            self.possible, activations, confidence_percent=self.confidence_percent
        )
        return limits.upper

    @cached_property
    def _grouped_upper(self) -> float:
        """Of episodes; misses that are only possible are taken as part of the largest one."""
        largest = self.largest + self.possible - self.misses
        return weighted_upper(
            self.possible,
            self.squares + largest**2 - self.largest**2,
            largest,
            confidence_percent=self.confidence_percent,
        )

    def activations_needed(self, max_per_hour: float) -> int:
        """Activations after which the upper limit is as low as this, if no more misses come.

        Raises:
            ValueError: the period is not known.
        """
        if self.period_ns <= 0:
            raise ValueError("without a period there is no time")
        return first(
            lambda activations: self._shown(activations, max_per_hour), max(0, self.possible - 1)
        )

    def _shown(self, activations: int, max_per_hour: float) -> bool:
        hours = activations * self.period_ns / NS_PER_HOUR
        return self.expected_upper(activations) / hours <= max_per_hour


def evidence_of(
    digest: Digest,
    deadline_ns: int | None,
    *,
    confidence_percent: float,
    lacks: frozenset[Lack] = frozenset(),
) -> Evidence:
    """Count and group the misses of a trial.

    Args:
        digest: of the trial, made with the same deadline.  Where its misses with a place do not
            fit its histogram (a file that lost some wake-ups, another deadline), the histogram
            counts, and the order is taken as not known.
        deadline_ns: None: only overruns, which miss every deadline.
        confidence_percent: of each limit, one-sided.
        lacks: what the source of an imported result cannot tell.

    Raises:
        ValueError: the confidence makes no sense; when a limit is asked for.
    """
    activations = max(digest.activations, digest.histogram.total)
    overruns = activations - digest.histogram.total
    late = Late(0, 0) if deadline_ns is None else _late(digest.histogram, deadline_ns)
    misses, possible = late.surely + overruns, late.possibly + overruns
    groups = None
    if digest.ordered and misses <= len(digest.miss_index) <= possible:
        groups = episodes(digest)
        misses = groups.misses
    known = Lack.PERIOD not in lacks
    return Evidence(
        misses=misses,
        possible=max(misses, possible),
        activations=activations,
        period_ns=digest.period_ns if known else 0,
        episodes=len(groups) if groups is not None else _ungrouped(misses),
        squares=groups.squares if groups is not None else misses**2,
        largest=groups.most_misses if groups is not None else misses,
        confidence_percent=confidence_percent,
    )


def _late(histogram: Histogram, deadline_ns: int) -> Late:
    """Late wake-ups; also the latest one, if its bin is missing and only its time was kept."""
    surely, possibly = histogram.late(deadline_ns)
    if not surely and histogram.max_ns is not None and histogram.max_ns > deadline_ns:
        return Late(min(1, histogram.total), max(min(1, histogram.total), possibly))
    return Late(surely, possibly)


def _ungrouped(misses: int) -> int | None:
    """One miss is one episode, and none is none, whatever the order; more may be anything."""
    return misses if misses <= 1 else None
