"""The verdict: is the deadline held, and how sure is that?

With an allowed number of misses per hour:

* FAIL if the lower limit of the misses per hour is above it;
* PASS if the upper limit is not above it;
* INCONCLUSIVE otherwise, with the further time that a PASS would need.

Without one: any miss is FAIL, none is PASS for the rate that was shown, which is stated.

Where an imported result is coarse or has gaps, FAIL takes only what is certain and PASS everything
that is possible.  Limits: `vmjitter.stats.evidence`.  The method with its assumptions:
docs/method/verdict.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vmjitter.model.judge import Lack, Target
from vmjitter.stats.digest import Digest
from vmjitter.stats.episodes import gap_rule
from vmjitter.stats.evidence import Evidence, evidence_of
from vmjitter.stats.histogram import Histogram
from vmjitter.stats.verdict_words import (
    assumptions,
    chance_reason,
    inconclusive,
    no_rate_fail,
    no_rate_pass,
    not_judged,
    order_reason,
    possible_reason,
    rate_fail,
    rate_pass,
    too_short,
)


class Outcome(StrEnum):
    """What a trial says about its target."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NONE = "none"
    """There was no deadline."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on one trial, with everything that it rests on.

    Each limit is one-sided and holds with the confidence of the target; all limits are None
    without a deadline or without an activation, those per hour also if the period is not known.

    Attributes:
        outcome: the verdict.
        sentence: the same in words, with the numbers that decided and their denominator.
        reasons: what speaks against the measurement, and what kept it from a clearer verdict.
        misses: wake-ups later than the deadline, and overruns; overruns alone without a deadline.
        misses_possible: the same with those whose bin holds the deadline.
        activations: wake-ups and overruns.
        hours: the time that they cover; None if the period is not known.
        share_lower: limit of the share of activations that miss, taken as independent.
            Likewise ``share_upper``.
        misses_per_hour: seen, on average.
        misses_per_hour_lower: limit that holds also for misses that come in episodes; likewise
            ``misses_per_hour_upper``.  These two decide.
        episodes: groups of misses, see ``episode_rule``; None if misses cannot be grouped because
            the order of the wake-ups is not known.
        episodes_per_hour_lower: limit; likewise ``episodes_per_hour_upper``.
        episode_rule: which misses are one episode.
        further_ns: how much longer the measurement would have to be for a PASS if no more misses
            come; only if INCONCLUSIVE for lack of time, else None.
        confidence_percent: of each limit.
        assumptions: what the limits take for granted.
    """

    outcome: Outcome
    sentence: str
    reasons: tuple[str, ...]
    misses: int
    misses_possible: int
    activations: int
    hours: float | None
    share_lower: float | None
    share_upper: float | None
    misses_per_hour: float | None
    misses_per_hour_lower: float | None
    misses_per_hour_upper: float | None
    episodes: int | None
    episodes_per_hour_lower: float | None
    episodes_per_hour_upper: float | None
    episode_rule: str
    further_ns: int | None
    confidence_percent: float
    assumptions: tuple[str, ...]


def judge(
    digest: Digest, target: Target, *, lacks: frozenset[Lack], invalid: tuple[str, ...]
) -> Verdict:
    """Hold a trial against its target.

    Args:
        digest: of the trial, made with the deadline of the target.
        target: deadline, allowed misses per hour, confidence.
        lacks: what the source of an imported result cannot tell.
        invalid: reasons why its figures must not be used.

    Raises:
        ValueError: the confidence makes no sense.
    """
    found = evidence_of(
        digest, target.deadline_ns, confidence_percent=target.confidence_percent, lacks=lacks
    )
    gaps = _gaps(digest.histogram, found, target, lacks)
    outcome = _outcome(found, target, unusable=bool(invalid), gaps=bool(gaps))
    further_ns = None
    if outcome is Outcome.INCONCLUSIVE and not invalid and not gaps:
        further_ns = _further_ns(found, target)
    return _verdict(
        found,
        target,
        outcome=outcome,
        sentence=_sentence(outcome, found, target, (*invalid, *gaps), further_ns),
        reasons=_reasons(outcome, found, target, (*invalid, *gaps)),
        further_ns=further_ns,
    )


def _outcome(found: Evidence, target: Target, *, unusable: bool, gaps: bool) -> Outcome:
    if target.deadline_ns is None:
        return Outcome.NONE
    if unusable or not found.activations:
        return Outcome.INCONCLUSIVE
    if _fails(found, target.max_misses_per_hour):
        return Outcome.FAIL
    if not gaps and _passes(found, target.max_misses_per_hour):
        return Outcome.PASS
    return Outcome.INCONCLUSIVE


def _fails(found: Evidence, allowed: float | None) -> bool:
    if allowed is None:
        return found.misses > 0
    return found.hours is not None and found.expected_misses.lower / found.hours > allowed


def _passes(found: Evidence, allowed: float | None) -> bool:
    if allowed is None:
        return found.possible == 0
    return found.hours is not None and found.expected_misses.upper / found.hours <= allowed


def _gaps(
    histogram: Histogram, found: Evidence, target: Target, lacks: frozenset[Lack]
) -> tuple[str, ...]:
    """What is not known, but would have to be for a PASS."""
    if target.deadline_ns is None:
        return ()
    gaps: list[str] = []
    if not found.activations:
        gaps.append("no activation was recorded")
    if Lack.OVERRUNS in lacks:
        gaps.append("the source does not tell missed activations, and each would be a miss")
    if Lack.OVERFLOW in lacks and not _all_before(histogram, target.deadline_ns, lacks):
        gaps.append("the source does not tell latencies beyond its last bin, which may be misses")
    if target.max_misses_per_hour is not None and found.hours is None and found.activations:
        gaps.append("the period is not known, so nothing can be said per hour")
    if target.max_misses_per_hour is None and found.possible > found.misses == 0:
        gaps.append(_straddling(found, histogram, target.deadline_ns, lacks))
    return tuple(gaps)


def _all_before(histogram: Histogram, deadline_ns: int, lacks: frozenset[Lack]) -> bool:
    """Whether the maximum, which is kept apart, shows that what is not told was in time."""
    if histogram.max_ns is None or Lack.EXTREMES in lacks:
        return False
    return histogram.max_ns + histogram.resolution_ns - 1 <= deadline_ns


def _straddling(
    found: Evidence, histogram: Histogram, deadline_ns: int, lacks: frozenset[Lack]
) -> str:
    count = found.possible - found.misses
    wakes = "1 wake-up" if count == 1 else f"{count} wake-ups"
    if histogram.overflow and histogram.overflow_from_ns <= deadline_ns:
        maximum = " and the maximum is not told" if Lack.EXTREMES in lacks else ""
        return f"{wakes} may be late: the last bin of the source ends before the deadline{maximum}"
    return f"{wakes} may be late: the deadline lies within their bin"


def _further_ns(found: Evidence, target: Target) -> int | None:
    if target.max_misses_per_hour is None or not found.period_ns:
        return None
    needed = found.activations_needed(target.max_misses_per_hour)
    return max(1, needed - found.activations) * found.period_ns


def _sentence(
    outcome: Outcome,
    found: Evidence,
    target: Target,
    against: tuple[str, ...],
    further_ns: int | None,
) -> str:
    rated = target.max_misses_per_hour is not None
    match outcome:
        case Outcome.NONE:
            return not_judged(found)
        case Outcome.FAIL:
            return rate_fail(found, target) if rated else no_rate_fail(found, target)
        case Outcome.PASS:
            return rate_pass(found, target) if rated else no_rate_pass(found, target)
        case Outcome.INCONCLUSIVE if further_ns is not None:
            return too_short(found, target, further_ns)
        case _:
            return inconclusive(found, target, against)


def _reasons(
    outcome: Outcome, found: Evidence, target: Target, against: tuple[str, ...]
) -> tuple[str, ...]:
    reasons = list(against)
    if outcome is Outcome.NONE:
        return tuple(reasons)
    allowed, hours = target.max_misses_per_hour, found.hours
    if found.episodes is None and allowed is not None:
        reasons.append(order_reason(found))
    if found.possible > found.misses and (found.misses or allowed is not None):
        reasons.append(possible_reason(found))
    seen_too_often = allowed is not None and hours and found.misses / hours > allowed
    if outcome is Outcome.INCONCLUSIVE and seen_too_often:
        reasons.append(chance_reason())
    return tuple(reasons)


def _verdict(
    found: Evidence,
    target: Target,
    *,
    outcome: Outcome,
    sentence: str,
    reasons: tuple[str, ...],
    further_ns: int | None,
) -> Verdict:
    limited = found if found.activations and target.deadline_ns is not None else None
    hours = found.hours if limited else None

    def per_hour(number: float | None) -> float | None:
        return number / hours if hours and number is not None else None

    return Verdict(
        outcome=outcome,
        sentence=sentence,
        reasons=reasons,
        misses=found.misses,
        misses_possible=found.possible,
        activations=found.activations,
        hours=found.hours,
        share_lower=limited.share.lower if limited else None,
        share_upper=limited.share.upper if limited else None,
        misses_per_hour=per_hour(found.misses),
        misses_per_hour_lower=per_hour(found.expected_misses.lower) if hours else None,
        misses_per_hour_upper=per_hour(found.expected_misses.upper) if hours else None,
        episodes=found.episodes,
        episodes_per_hour_lower=per_hour(found.expected_episodes.lower),
        episodes_per_hour_upper=per_hour(found.expected_episodes.upper),
        episode_rule=gap_rule(found.period_ns),
        further_ns=further_ns,
        confidence_percent=target.confidence_percent,
        assumptions=assumptions(found) if limited else (),
    )
