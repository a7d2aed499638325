"""The figures of one trial: counts, exact quantiles, extremes and misses.

A *wake-up* was observed and has a latency; a *missed activation* (an overrun) passed while the
wake-up before it was still late, and has none.  Quantiles and extremes are those of the
wake-ups; overruns are counted beside them and are misses of every deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmjitter.stats.histogram import MISSED, Histogram, histogram_of

Latencies = NDArray[np.int64]

P50: Final = Fraction(1, 2)
P99: Final = Fraction(99, 100)
P999: Final = Fraction(999, 1000)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What can be said of a trial's latencies; times in nanoseconds.

    Attributes:
        count: wake-ups that were observed.
        overruns: missed activations.
        min_ns: smallest latency, or None without a wake-up; likewise ``max_ns``.
        p99_ns: nearest-rank quantile, so one of the latencies; None where too few wake-ups
            support it, see `supported`; likewise ``p50_ns`` and ``p999_ns``.
        negative: wake-ups before their planned time.
        misses: wake-ups later than the deadline, and all overruns; None without a deadline.
    """

    count: int
    overruns: int
    min_ns: int | None
    p50_ns: int | None
    p99_ns: int | None
    p999_ns: int | None
    max_ns: int | None
    negative: int
    misses: int | None

    @property
    def activations(self) -> int:
        """Planned wake-ups that came to pass: wake-ups and overruns."""
        return self.count + self.overruns


def summarize(latency_ns: Latencies, *, deadline_ns: int | None = None) -> Summary:
    """Summarise the latencies of one trial, in any order.

    Args:
        latency_ns: one per activation, signed; `MISSED` for a missed activation.
        deadline_ns: a wake-up later than this is a miss.
    """
    overruns = int(np.count_nonzero(latency_ns == MISSED))
    return summary_of(histogram_of(latency_ns), overruns=overruns, deadline_ns=deadline_ns)


def summary_of(histogram: Histogram, *, overruns: int, deadline_ns: int | None = None) -> Summary:
    """Summarise a histogram; where it is in bins, a quantile is the lower edge of its bin."""
    late = 0 if deadline_ns is None else histogram.late(deadline_ns).surely
    return Summary(
        count=histogram.total,
        overruns=overruns,
        min_ns=histogram.min_ns,
        p50_ns=quantile(histogram, P50),
        p99_ns=quantile(histogram, P99),
        p999_ns=quantile(histogram, P999),
        max_ns=histogram.max_ns,
        negative=histogram.negative,
        misses=None if deadline_ns is None else late + overruns,
    )


def quantile(histogram: Histogram, share: Fraction) -> int | None:
    """The nearest-rank quantile: the smallest latency that at least that share does not exceed.

    Exact, because a rank is computed in whole numbers and a latency is never interpolated.
    None for a share that too few latencies support, or one that lies among the overflow.
    """
    if not supported(share, histogram.total):
        return None
    found = histogram.quantile(share)
    return None if found is None or found.at_least else found.value_ns


def supported(share: Fraction, count: int) -> bool:
    """Whether ``count`` latencies say something about the quantile of that share.

    An upper limit of a quantile exists at 95 % only if count >= 3 / (1 - share), the rule of
    three.  The median needs no more than one latency: it is not used as a limit.
    """
    return count > 0 and (share <= P50 or count * (1 - share) >= 3)


def upper_share(count: int) -> float:
    """Share of wake-ups that may be later than the latest of ``count``, at 95 % confidence.

    The rule of three, 3 / count: the maximum that was seen is an upper tolerance limit for all
    but this share, if the wake-ups are like those of operation and independent in what delays
    them.
    """
    return min(1.0, 3 / count) if count else 1.0
