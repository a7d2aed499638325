"""How long to measure for a claim, and what a given time can claim.

The same limits as in the verdict (`vmjitter.stats.evidence`, `vmjitter.stats.quantiles`), read the
other way round: a measurement as long as `time_needed` says, with no more than that many misses,
is a PASS, and one that is one activation shorter is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from vmjitter.stats.bounds import first, mean_limits, risk, share_limits
from vmjitter.stats.evidence import NS_PER_HOUR, Evidence
from vmjitter.stats.quantiles import SHARES, covered_share, enough, or_fewer
from vmjitter.stats.summary import P50

PASSES_PERCENT: Final = 90.0
"""How often a measurement passes if the true rate is `TimeNeeded.passes_at_per_hour`."""


@dataclass(frozen=True, kw_only=True)
class TimeNeeded:
    """The length of a measurement that shows a rate in spite of some misses.

    Attributes:
        misses: so many may be seen, each an episode of its own.
        duration_ns: so long it must be.
        activations: so many it then has; None if the period is not known.
        passes_at_per_hour: the true rate of misses at which such a measurement passes in 90 of 100
            cases.  It is far below the rate that is shown: the fewer misses are allowed, the more.
    """

    misses: int
    duration_ns: int
    activations: int | None
    passes_at_per_hour: float


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a measurement of a given length shows after so many misses.

    Attributes:
        misses: seen, each an episode of its own.
        misses_per_hour_lower: limit; likewise ``misses_per_hour_upper``.
        share_upper: limit of the share of activations that miss; None if the period is not known.
    """

    misses: int
    misses_per_hour_lower: float
    misses_per_hour_upper: float
    share_upper: float | None


@dataclass(frozen=True, kw_only=True)
class WakeUpsNeeded:
    """The wake-ups that an upper limit of a quantile needs.

    Attributes:
        label: of the quantile, e.g. "p99.999".
        share: of wake-ups that are not later than it.
        beyond: so many of the latest wake-ups may lie beyond the limit; with 0 the limit is the
            maximum, so that a single strange wake-up decides it.
        wake_ups: so many are needed.
        duration_ns: the time that they take; None if the period is not known.
    """

    label: str
    share: Fraction
    beyond: int
    wake_ups: int
    duration_ns: int | None


def time_needed(
    max_misses_per_hour: float, misses: int, *, confidence_percent: float, period_ns: int = 0
) -> TimeNeeded:
    """How long to measure to show a rate, if so many misses are seen.

    Args:
        max_misses_per_hour: above 0; the upper limit must not be higher.
        misses: each an episode of its own, which is the most expensive way to come.
        confidence_percent: of the limit, one-sided.
        period_ns: 0 if it does not matter: then the time is not rounded up to activations.

    Raises:
        ValueError: a negative number, or no confidence.
    """
    limits = mean_limits(misses, confidence_percent=confidence_percent)
    duration_ns = math.ceil(limits.upper / max_misses_per_hour * NS_PER_HOUR)
    activations = None
    if period_ns:
        found = Evidence(
            misses=misses,
            possible=misses,
            activations=misses,
            period_ns=period_ns,
            episodes=misses,
            squares=misses,
            largest=min(misses, 1),
            confidence_percent=confidence_percent,
        )
        activations = found.activations_needed(max_misses_per_hour)
        duration_ns = activations * period_ns
    passing = mean_limits(misses, confidence_percent=100 - PASSES_PERCENT).upper
    return TimeNeeded(
        misses=misses,
        duration_ns=duration_ns,
        activations=activations,
        passes_at_per_hour=passing * NS_PER_HOUR / duration_ns,
    )


def shown(duration_ns: int, misses: int, *, confidence_percent: float, period_ns: int = 0) -> Shown:
    """What a time shows, if so many misses are seen.

    Args:
        duration_ns: above 0.
        misses: each an episode of its own.
        confidence_percent: of each limit, one-sided.
        period_ns: 0 if not known.

    Raises:
        ValueError: more misses than activations, a negative number, or no confidence.
    """
    hours = duration_ns / NS_PER_HOUR
    mean = mean_limits(misses, confidence_percent=confidence_percent)
    share = None
    if period_ns:
        activations = duration_ns // period_ns
        share = share_limits(misses, activations, confidence_percent=confidence_percent).upper
    return Shown(
        misses=misses,
        misses_per_hour_lower=mean.lower / hours,
        misses_per_hour_upper=mean.upper / hours,
        share_upper=share,
    )


def fails_from(duration_ns: int, max_misses_per_hour: float, *, confidence_percent: float) -> int:
    """The fewest misses, each an episode of its own, that are a FAIL after this time.

    Raises:
        ValueError: no confidence.
    """
    hours = duration_ns / NS_PER_HOUR
    return first(
        lambda misses: (
            mean_limits(misses, confidence_percent=confidence_percent).lower / hours
            > max_misses_per_hour
        ),
        0,
    )


def wake_ups_needed(
    share: Fraction, beyond: int = 0, *, confidence_percent: float, period_ns: int = 0
) -> WakeUpsNeeded:
    """How many wake-ups the upper limit of a quantile needs.

    S. S. Wilks, "Determination of sample sizes for setting tolerance limits", Annals of
    Mathematical Statistics 12 (1941): 59 for 95 % of all with 95 % confidence.  Here 60, by the
    rule 3 / (1 - share) of every quantile of the report.

    Args:
        share: of the quantile, above one half.
        beyond: see `WakeUpsNeeded`.
        confidence_percent: of the limit, one-sided.
        period_ns: 0 if not known.

    Raises:
        ValueError: the share is not between one half and one, ``beyond`` is negative, or no
            confidence.
    """
    wrong = risk(confidence_percent)
    if not P50 < share < 1 or beyond < 0:
        raise ValueError(f"a share of {float(share)} with {beyond} wake-ups beyond has no limit")

    def limited(total: int) -> bool:
        few = or_fewer(beyond, total, float(1 - share)) <= wrong
        return few and enough(total, share, wrong=wrong)

    high = first(limited, beyond)
    return WakeUpsNeeded(
        label=f"p{float(100 * share):.12g}",
        share=share,
        beyond=beyond,
        wake_ups=high,
        duration_ns=high * period_ns if period_ns else None,
    )


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What a number of wake-ups says of latencies.

    Attributes:
        wake_ups: so many.
        quantiles: labels of those that are supported.
        max_covers: share of wake-ups to come that are not later than the maximum, with the
            confidence that was asked for.
    """

    wake_ups: int
    quantiles: tuple[str, ...]
    max_covers: float


def coverage(wake_ups: int, *, confidence_percent: float) -> Coverage:
    """Which quantiles so many wake-ups support, and what their maximum covers.

    Raises:
        ValueError: no confidence.
    """
    wrong = risk(confidence_percent)
    labels = (label for label, share in SHARES.items() if enough(wake_ups, share, wrong=wrong))
    return Coverage(
        wake_ups=wake_ups,
        quantiles=tuple(labels),
        max_covers=covered_share(wake_ups, wrong=wrong),
    )
