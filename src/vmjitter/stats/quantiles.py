"""Quantiles with exact limits, only where the sample supports them, and what the maximum covers.

A quantile is estimated by nearest rank, so it is one of the latencies.  Its limits are latencies,
too: order statistics whose ranks come from the binomial distribution (W. R. Thompson, "On
confidence ranges for the median", Annals of Mathematical Statistics 7, 1936; H. A. David and H. N.
Nagaraja, "Order statistics", 3rd edition, section 7.1).  They hold for every distribution of
latencies, also with ties, if wake-ups are independent; where late wake-ups come in episodes they
are too narrow.

The maximum is an upper limit for the share of wake-ups of which N show it (S. S. Wilks,
"Determination of sample sizes for setting tolerance limits", ibid. 12, 1941): (1 - c)^(1/N), which
is all but 3/N at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from scipy import special

from vmjitter.stats.bounds import risk
from vmjitter.stats.histogram import Histogram
from vmjitter.stats.summary import P50, supported

SHARES: Final = {
    "p50": P50,
    **{f"p{text}": Fraction(text) / 100 for text in ("90", "99", "99.9", "99.99", "99.999")},
    "p99.9999": Fraction(999_999, 1_000_000),
}
"""The quantiles that are always listed, supported or not."""

_RARER: Final = {
    "p99.99999": Fraction(9_999_999, 10_000_000),
    "p99.999999": Fraction(99_999_999, 100_000_000),
}
MAXIMUM: Final = "max"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A quantile of the wake-ups, or their maximum.

    Attributes:
        label: "p99.9", or "max".
        share: of wake-ups that are not later.  For the maximum: the share of wake-ups to come that
            are not later, with the confidence that was asked for.
        supported: there are enough wake-ups for it: with the same confidence the latest one is
            an upper limit.  If not, no time is given.
        value_ns: lower edge of its bin, as everywhere.
        low_ns: lower limit; ``high_ns``: upper limit.  Each holds with the confidence that was
            asked for, so both at once with less: two limits of 95 % make an interval of 90 %.
            None where the sample is too small for it, or where it lies beyond the last bin;
            always None for the maximum, which is no estimate of anything.
        at_least: it lies beyond the last bin of the source: it is ``value_ns`` or later.
    """

    label: str
    share: Fraction
    supported: bool
    value_ns: int | None = None
    low_ns: int | None = None
    high_ns: int | None = None
    at_least: bool = False


def estimates(histogram: Histogram, *, confidence_percent: float) -> tuple[Estimate, ...]:
    """Estimate the usual quantiles, in ascending order, and the maximum as the last.

    Quantiles rarer than p99.9999 are listed only if they are supported.

    Args:
        histogram: of the wake-ups; overruns have no latency and are not in it.
        confidence_percent: of each limit, one-sided.

    Raises:
        ValueError: no confidence.
    """
    wrong = risk(confidence_percent)
    listed = [_estimate(histogram, label, share, wrong) for label, share in SHARES.items()]
    rarer = [_estimate(histogram, label, share, wrong) for label, share in _RARER.items()]
    return (*listed, *(one for one in rarer if one.supported), _maximum(histogram, wrong))


def _estimate(histogram: Histogram, label: str, share: Fraction, wrong: float) -> Estimate:
    total = histogram.total
    value = histogram.quantile(share)
    if value is None or not enough(total, share, wrong=wrong):
        return Estimate(label=label, share=share, supported=False)
    lower, upper = limit_ranks(total, share, wrong=wrong)
    low = histogram.at_rank(lower) if lower else None
    high = histogram.at_rank(upper) if upper else None
    return Estimate(
        label=label,
        share=share,
        supported=True,
        value_ns=value.value_ns,
        low_ns=low.value_ns if low else None,
        high_ns=high.high_ns if high else None,
        at_least=value.at_least,
    )


def _maximum(histogram: Histogram, wrong: float) -> Estimate:
    total = histogram.total
    latest = histogram.at_rank(total)
    share = Fraction(covered_share(total, wrong=wrong))
    if latest is None:
        return Estimate(label=MAXIMUM, share=share, supported=False)
    known = histogram.max_ns is not None
    return Estimate(
        label=MAXIMUM,
        share=share,
        supported=True,
        value_ns=histogram.max_ns if known else latest.value_ns,
        at_least=latest.at_least and not known,
    )


def enough(total: int, share: Fraction, *, wrong: float) -> bool:
    """Whether so many wake-ups support a quantile: the latest one must be an upper limit of it.

    The median is not used as a limit and needs no more than one.
    """
    if not supported(share, total):
        return False
    return share <= P50 or limit_ranks(total, share, wrong=wrong)[1] is not None


def covered_share(total: int, *, wrong: float) -> float:
    """Share of wake-ups to come that are not later than the latest of ``total``."""
    return math.exp(math.log(wrong) / total) if total else 0.0


def limit_ranks(total: int, share: Fraction, *, wrong: float) -> tuple[int | None, int | None]:
    """Ranks (1 is the smallest) of the latencies that are limits of a quantile.

    Args:
        total: wake-ups.
        share: of the quantile, between 0 and 1.
        wrong: how often each limit may be wrong.

    Returns:
        Rank of the lower and of the upper limit; None where there are too few wake-ups.
    """
    tail = float(1 - share)
    # How many are later than the quantile is binomial, with a mean of total * tail.  The upper
    # limit leaves so many beyond it that so few are later with a probability of `wrong` only; and
    # from the lower limit on there are more than are later with that probability.
    beyond = _last(total, lambda count: or_fewer(count, total, tail) <= wrong)
    usual = _last(total, lambda count: _or_more(count, total, tail) > wrong)
    upper = None if beyond is None else total - beyond
    lower = None if usual in (None, total) else total - (usual or 0)
    return lower, upper


def or_fewer(count: int, of: int, share: float) -> float:
    """Probability that ``count`` or fewer of ``of`` are, each with the probability ``share``."""
    return 1.0 if count >= of else float(special.betaincc(count + 1, of - count, share))


def _or_more(count: int, of: int, share: float) -> float:
    """Probability that ``count`` or more of ``of`` are."""
    return 1.0 if count <= 0 else float(special.betainc(count, of - count + 1, share))


def _last(most: int, holds: Callable[[int], bool]) -> int | None:
    """The largest count up to ``most`` for which a condition holds; it holds for all below it."""
    low, high = -1, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low if low >= 0 else None
