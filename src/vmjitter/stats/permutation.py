"""Two small groups of values against each other, exactly: no formula that needs many of them.

If it makes no difference to which group a trial belongs, then every way of dealing the trials to
two groups of these sizes was equally probable.  All of them are counted.  The statistic is the sum
of the ranks of one group (F. Wilcoxon, "Individual comparisons by ranking methods", 1945; ties get
their mean rank), because one boot with an extreme latency must not decide alone, and because the
same count gives intervals without any assumption on the shape of the distribution (J. L. Hodges
and E. L. Lehmann, "Estimates of location based on rank tests", 1963).

Trials that were measured close together are a block: values are ranked, and groups dealt, within
blocks only, so that what changes from block to block (the time of day, the host's memory) cancels.
The statistic is the sum over the blocks; the rest is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, pairwise
from math import comb, prod, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
"""Whole numbers: of 64 bits as long as they fit, else as floats, which are exact to 15 digits."""

Int64s = NDArray[np.int64]

_COUNTABLE: Final = 1 << 62
"""Of so many ways to deal the trials each number of them fits into 64 bits."""

_ENUMERABLE: Final = 300_000
"""So many ways to deal the trials are looked at one by one."""

_TOLERANCE: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class Block:
    """Trials that may be exchanged for each other, by their places in both groups.

    Attributes:
        before: places in the group before; at least one.  Likewise ``after``.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def ways(self) -> int:
        """In how many ways its trials can be dealt to groups of these sizes."""
        return comb(len(self.before) + len(self.after), len(self.before))

    @property
    def pairs(self) -> int:
        """Pairs of one trial of each group."""
        return len(self.before) * len(self.after)


Design = tuple[Block, ...]
"""How trials may be exchanged: within each block, and with no other."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """By how much one group's values differ from the other's: an estimate and its interval.

    Attributes:
        estimate: the median of the differences (or ratios) of all pairs of trials of a block.
        low: lower end of the interval, or None: so few trials have none at this confidence.
            Likewise ``high``.
    """

    estimate: float
    low: float | None
    high: float | None


def pooled(before: int, after: int) -> Design:
    """All trials in one block; no block if one of the groups is empty."""
    if not before or not after:
        return ()
    return (Block(before=tuple(range(before)), after=tuple(range(after))),)


def blocked(before: Sequence[int], after: Sequence[int]) -> Design:
    """Blocks by number.

    Args:
        before: the block of each trial of the group before; likewise ``after``.  A block that has
            trials of one group only is left out: it compares nothing.
    """
    numbers = sorted(set(before) & set(after))
    return tuple(
        Block(
            before=tuple(place for place, block in enumerate(before) if block == number),
            after=tuple(place for place, block in enumerate(after) if block == number),
        )
        for number in numbers
    )


def rank_test(before: Sequence[float], after: Sequence[float], design: Design) -> float:
    """The exact two-sided p-value: how often chance alone deals rank sums as far apart, or further.

    Args:
        before: a value per trial; likewise ``after``.
        design: at least one block.
    """
    sums, mean = np.ones(1, np.int64), 0
    observed = 0
    for block in design:
        ranks = _block_ranks(before, after, block)
        size = len(block.before)
        sums = np.convolve(_countable(sums, design), _countable(_dealt(ranks, size), design))
        mean += size * (len(ranks) + 1)
        observed += sum(ranks[:size])
    distance = np.abs(np.arange(len(sums)) - mean)
    return float(sums[distance >= abs(observed - mean)].sum() / sums.sum())


def smallest_p(design: Design) -> float:
    """The smallest p-value that this design can give, at complete separation."""
    return min(1.0, 2 / prod(block.ways for block in design)) if design else 1.0


def trials_needed(significance: float) -> int:
    """The smallest size of two equal groups that can show a difference at this level."""
    size = 1
    while smallest_p(pooled(size, size)) > significance + _TOLERANCE:
        size += 1
    return size


def reaches(p_value: float, significance: float) -> bool:
    """Whether a p-value is at most that level, whatever the last bit of either is."""
    return p_value <= significance + _TOLERANCE


def adjusted(
    columns: Sequence[tuple[Sequence[float], Sequence[float]]], design: Design
) -> tuple[float, ...]:
    """P-values of several figures of the same trials, so that all of them may be looked at.

    The step-down method of the smallest p-value (P. H. Westfall and S. S. Young,
    "Resampling-based multiple testing", 1993, algorithm 2.8), with every way of dealing the trials
    instead of a sample of them: figures of one trial hang together, and a way that is extreme in
    one of them often is in the others, which the method of Holm cannot know.  Where there are too
    many ways to look at each, Holm's method is used; p-values can be small enough for it then.

    Args:
        columns: of each figure the values before and after, one per trial.
        design: at least one block.

    Returns:
        One per figure: the share of ways whose smallest p-value, among this figure and those with
        a larger one, is at most the figure's own; never smaller than that of a figure before it.
    """
    if not columns:
        return ()
    if prod(block.ways for block in design) > _ENUMERABLE:
        return holm([rank_test(before, after, design) for before, after in columns])
    distance, observed = _distances(columns, design)
    ways = len(distance)
    # As counts of ways, so that equal p-values are equal.
    extreme = np.stack(
        [ways - np.searchsorted(np.sort(column), column) for column in distance.T],
        axis=1,
    )
    own = [int((distance[:, place] >= observed[place]).sum()) for place in range(len(columns))]
    order = sorted(range(len(columns)), key=lambda place: own[place])
    found, highest = [0.0] * len(columns), 0.0
    for step, place in enumerate(order):
        least = extreme[:, order[step:]].min(axis=1)
        highest = max(highest, float((least <= own[place]).sum() / ways))
        found[place] = highest
    return tuple(found)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values so that all of them may be looked at.

    The smallest is multiplied by their number, the next one by one less, and so on
    (S. Holm, "A simple sequentially rejective multiple test procedure", 1979).
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    found = [0.0] * len(p_values)
    highest = 0.0
    for done, place in enumerate(order):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - done)))
        found[place] = highest
    return tuple(found)


def critical_pairs(design: Design, significance: float) -> int | None:
    """The most pairs that may be in the wrong order while a difference is still shown.

    The two-sided rank test without ties rejects if, among all pairs of a block, at most so many
    (or all but so many) have the first one's value above the other's.  None if not even complete
    separation is enough.
    """
    if not design:
        return None
    wrong = reduce(np.convolve, (_countable(_wrong(block), design) for block in design))
    tail = np.cumsum(wrong) / wrong.sum()
    place = int(np.searchsorted(tail, significance / 2 + _TOLERANCE, side="right"))
    return place - 1 if place else None


def difference(
    before: Sequence[float], after: Sequence[float], design: Design, significance: float
) -> Shift:
    """After minus before, by the differences of all pairs of a block; at least one block."""
    pairs = sorted(after[late] - before[early] for early, late in pairs_of(design))
    middle = _middle(pairs)
    return _shift(pairs, (middle[0] + middle[1]) / 2, design, significance)


def ratio(
    before: Sequence[float], after: Sequence[float], design: Design, significance: float
) -> Shift | None:
    """After by before, likewise; None if a value is not above zero."""
    if min([*before, *after]) <= 0:
        return None
    pairs = sorted(after[late] / before[early] for early, late in pairs_of(design))
    middle = _middle(pairs)
    return _shift(pairs, sqrt(middle[0] * middle[1]), design, significance)


def pairs_of(design: Design) -> list[tuple[int, int]]:
    """Places of all pairs of one trial of each group that are in the same block."""
    return [(early, late) for block in design for early in block.before for late in block.after]


def _shift(pairs: Sequence[float], estimate: float, design: Design, significance: float) -> Shift:
    """The interval of all shifts that the rank test would not reject."""
    wrong = critical_pairs(design, significance)
    if wrong is None:
        return Shift(estimate=estimate, low=None, high=None)
    return Shift(estimate=estimate, low=pairs[wrong], high=pairs[len(pairs) - 1 - wrong])


def _middle(ordered: Sequence[float]) -> tuple[float, float]:
    return ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]


def _block_ranks(before: Sequence[float], after: Sequence[float], block: Block) -> list[int]:
    """Doubled ranks of a block's trials, those before first."""
    return _doubled_ranks(
        [*(before[place] for place in block.before), *(after[place] for place in block.after)]
    )


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Ranks from 1, twice as large so that the mean rank of equal values is a whole number."""
    order = sorted(values)
    edges = [0, *(place for place, (a, b) in enumerate(pairwise(order), 1) if a != b), len(order)]
    rank = {order[begin]: begin + 1 + end for begin, end in pairwise(edges)}
    return [rank[value] for value in values]


def _dealt(ranks: Sequence[int], size: int) -> Counts:
    """In how many ways ``size`` of the ranks have each sum."""
    kind = np.int64 if comb(len(ranks), len(ranks) // 2) <= _COUNTABLE else np.float64
    ways: Counts = np.zeros((size + 1, sum(ranks) + 1), kind)
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    sums: Counts = ways[size]
    return sums


def _countable(counts: Counts, design: Design) -> Counts:
    """Counts in a type that holds the number of all ways of the whole design."""
    many = prod(block.ways for block in design) > _COUNTABLE
    return counts.astype(np.float64) if many else counts


def _wrong(block: Block) -> Counts:
    """In how many ways each number of a block's pairs is in the wrong order, without ties."""
    one = len(block.before)
    sums = _dealt([2 * rank for rank in range(1, one + len(block.after) + 1)], one)
    # The number of wrong pairs is the rank sum less the smallest that there is.
    return sums[one * (one + 1) :: 2][: block.pairs + 1]


def _distances(
    columns: Sequence[tuple[Sequence[float], Sequence[float]]], design: Design
) -> tuple[Int64s, Int64s]:
    """How far each figure's rank sum is from its mean, in every way of dealing, and as it is."""
    sums = np.zeros((1, len(columns)), np.int64)
    observed, mean = np.zeros(len(columns), np.int64), 0
    for block in design:
        size = len(block.before)
        ranks = np.array([_block_ranks(*values, block) for values in columns], np.int64).T
        chosen = np.array(list(combinations(range(len(ranks)), size)))
        each = ranks[chosen].sum(axis=1)
        sums = (sums[:, None, :] + each[None, :, :]).reshape(-1, len(columns))
        observed += ranks[:size].sum(axis=0)
        mean += size * (len(ranks) + 1)
    return np.abs(sums - mean), np.abs(observed - mean)
