"""Misses cluster: one stall of the host makes many of them.  An episode is one such cluster.

Limits of a rate need events that do not depend on each other.  Misses do: 50 activations of 1 ms
that pass during one stall of 50 ms are one event.  So misses are grouped first, by a rule that was
fixed before any measurement and is the same for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmjitter.stats.digest import Digest
from vmjitter.units import NS_PER_MS, format_ns

GAP_PERIODS: Final = 10
GAP_NS: Final = 100 * NS_PER_MS
"""Misses closer than so many periods, or than this time if it is longer, are one episode.

Ten periods, so that a disturbance that spares some activations stays one; 100 ms, because the
scheduler's own bookkeeping (the period of CPU bandwidth control, for one) has that length.
"""


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """The misses of a trial, grouped.

    Attributes:
        count: how many groups there are; also what `len` gives.
        misses: in all of them.
        most_misses: in the one that has most; 0 if there is none.
        squares: the sum of the squares of their numbers of misses.
        longest: activations from the first to the last miss, both included, of the longest one;
            0 if there is none.
        longest_ns: the time of these activations; 0 if the period is not known.
        gap: misses that are less than so many activations apart belong together.
        rule: the same in words.
    """

    count: int
    misses: int
    most_misses: int
    squares: int
    longest: int
    longest_ns: int
    gap: int
    rule: str

    def __len__(self) -> int:
        return self.count

    @property
    def mean_misses(self) -> float:
        """Misses per episode; 1 if there was none, the least that an episode can have."""
        return self.misses / self.count if self.count else 1.0


def episodes(digest: Digest) -> Episodes:
    """Group the misses of a trial whose order is known.

    Raises:
        ValueError: it is not.
    """
    if not digest.ordered:
        raise ValueError("episodes need the order of the wake-ups")
    return grouped(digest.miss_index, period_ns=digest.period_ns)


def grouped(miss_index: NDArray[np.int64], *, period_ns: int) -> Episodes:
    """Group misses.

    Args:
        miss_index: the activation of each miss, ascending.
        period_ns: distance of two activations; 0 if it is not known: then only `GAP_PERIODS`
            counts.
    """
    gap = gap_activations(period_ns)
    starts = np.flatnonzero(np.diff(miss_index, prepend=miss_index[:1] - gap) >= gap)
    ends = np.append(starts[1:], len(miss_index)) if len(starts) else starts
    sizes = ends - starts
    lengths = miss_index[ends - 1] - miss_index[starts] + 1
    longest = int(lengths.max(initial=0))
    return Episodes(
        count=len(starts),
        misses=len(miss_index),
        most_misses=int(sizes.max(initial=0)),
        squares=sum(size * size for size in sizes.tolist()),
        longest=longest,
        longest_ns=longest * period_ns,
        gap=gap,
        rule=gap_rule(period_ns),
    )


def gap_activations(period_ns: int) -> int:
    """The gap in activations, rounded up: misses closer than this are one episode."""
    return max(GAP_PERIODS, -(-GAP_NS // period_ns)) if period_ns > 0 else GAP_PERIODS


def gap_rule(period_ns: int) -> str:
    """The rule as part of a sentence: "misses less than 100.00 ms apart"."""
    if period_ns <= 0:
        return f"misses less than {GAP_PERIODS} activations apart"
    return f"misses less than {format_ns(max(GAP_NS, GAP_PERIODS * period_ns))} apart"
