"""The exact tests: against other programs, tables, every way of dealing, and by simulation."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vmjitter.stats.permutation import (
    Design,
    adjusted,
    blocked,
    critical_pairs,
    difference,
    holm,
    pairs_of,
    pooled,
    rank_test,
    ratio,
    reaches,
    smallest_p,
    trials_needed,
)

FEW = st.lists(st.integers(0, 6), min_size=1, max_size=5)


def dealt(design: Design, trials: int) -> list[tuple[int, ...]]:
    """Every way of dealing: the places, of all trials in a row, that form the group before."""
    each = []
    for block in design:
        places = [*block.before, *(trials + place for place in block.after)]
        each.append(list(combinations(places, len(block.before))))
    return [tuple(sorted(sum(way, ()))) for way in product(*each)]


def rank_sums(before: list[int], after: list[int], design: Design) -> list[tuple[float, bool]]:
    """The rank sum's distance from its mean in every way, and whether this way was observed."""
    values = [*before, *after]
    ranks, mean = np.zeros(len(values)), 0.0
    for block in design:
        places = [*block.before, *(len(before) + place for place in block.after)]
        ranks[places] = stats.rankdata([values[place] for place in places])
        mean += len(block.before) * (len(places) + 1) / 2
    seen = tuple(sorted(place for block in design for place in block.before))
    return [
        (abs(float(ranks[list(way)].sum()) - mean), way == seen)
        for way in dealt(design, len(before))
    ]


@given(before=FEW, after=FEW)
def test_the_p_value_counts_every_way(before: list[int], after: list[int]) -> None:
    design = pooled(len(before), len(after))
    sums = rank_sums(before, after, design)
    (observed,) = (distance for distance, seen in sums if seen)
    wanted = sum(distance >= observed - 1e-9 for distance, _ in sums) / len(sums)
    assert rank_test(before, after, design) == pytest.approx(wanted, abs=1e-12)


@given(data=st.data(), rounds=st.integers(1, 5))
@settings(max_examples=60)
def test_the_p_value_counts_every_way_within_blocks(data: st.DataObject, rounds: int) -> None:
    values = st.lists(st.integers(0, 9), min_size=rounds, max_size=rounds)
    before, after = data.draw(values), data.draw(values)
    numbers = [place // 2 for place in range(rounds)]
    design = blocked(numbers, numbers)
    sums = rank_sums(before, after, design)
    (observed,) = (distance for distance, seen in sums if seen)
    wanted = sum(distance >= observed - 1e-9 for distance, _ in sums) / len(sums)
    assert rank_test(before, after, design) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("sizes", [(3, 5), (4, 4), (7, 6), (12, 12), (40, 30)])
def test_agrees_with_scipy(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    before, after = random.normal(size=sizes[0]), random.normal(0.7, size=sizes[1])
    wanted = stats.mannwhitneyu(before, after, method="exact").pvalue
    assert rank_test(list(before), list(after), pooled(*sizes)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("size", "critical"), [(3, None), (4, 0), (5, 2), (6, 5), (7, 8), (8, 13), (9, 17), (10, 23)]
)
def test_the_table_of_mann_and_whitney(size: int, critical: int | None) -> None:
    """Two-sided critical values at 5 %, as in every printed table of U."""
    assert critical_pairs(pooled(size, size), 0.05) == critical


def test_what_the_sizes_allow() -> None:
    assert smallest_p(pooled(4, 4)) == 2 / 70
    assert smallest_p(pooled(3, 3)) == 2 / 20
    assert smallest_p(()) == smallest_p(pooled(0, 3)) == smallest_p(pooled(1, 1)) == 1
    abba = blocked([0, 0, 1, 1], [0, 0, 1, 1])
    assert smallest_p(abba) == 2 / 36
    assert trials_needed(0.05) == 4
    assert trials_needed(0.01) == 5
    assert reaches(0.1 + 0.2, 0.3)
    assert critical_pairs((), 0.05) is None
    # one p-value that all trials of both groups, strictly apart, reach
    assert rank_test([1, 2, 3, 4], [5, 6, 7, 8], pooled(4, 4)) == 2 / 70
    assert rank_test([1, 2, 11, 12], [3, 4, 13, 14], abba) == 2 / 36
    assert rank_test([1] * 4, [1] * 4, pooled(4, 4)) == 1


def test_a_block_of_one_group_compares_nothing() -> None:
    design = blocked([0, 0, 1], [1, 2])
    assert [(block.before, block.after) for block in design] == [((2,), (0,))]
    assert pairs_of(design) == [(2, 0)]


def test_a_block_takes_out_what_is_common_to_it() -> None:
    before, after = [1.0, 2, 101, 102, 201, 202], [3.0, 4, 103, 104, 203, 204]
    numbers = [0, 0, 1, 1, 2, 2]
    within = difference(before, after, blocked(numbers, numbers), 0.05)
    assert (within.low, within.estimate, within.high) == (1, 2, 3)
    freely = difference(before, after, pooled(6, 6), 0.05)
    assert freely.low is not None
    assert freely.low < 0
    assert rank_test(before, after, blocked(numbers, numbers)) == 2 / 216
    assert rank_test(before, after, pooled(6, 6)) > 0.3


def test_numbers_too_large_for_64_bits() -> None:
    random = np.random.default_rng(2)
    before, after = list(random.normal(size=60)), list(random.normal(size=60))
    wanted = stats.mannwhitneyu(before, after, method="asymptotic").pvalue
    assert rank_test(before, after, pooled(60, 60)) == pytest.approx(wanted, abs=0.01)
    numbers = [place // 2 for place in range(60)]
    assert 0 < rank_test(before, after, blocked(numbers, numbers)) <= 1
    assert smallest_p(blocked(numbers, numbers)) == 2 / 6**30


@given(before=FEW, after=FEW)
def test_groups_may_change_places(before: list[int], after: list[int]) -> None:
    there, back = pooled(len(before), len(after)), pooled(len(after), len(before))
    assert rank_test(before, after, there) == pytest.approx(rank_test(after, before, back))
    one, other = difference(before, after, there, 0.1), difference(after, before, back, 0.1)
    assert one.estimate == -other.estimate
    assert (one.low is None) == (other.high is None)
    if one.low is not None and other.high is not None:
        assert one.low == -other.high


def test_the_interval_is_what_the_test_does_not_reject() -> None:
    random = np.random.default_rng(3)
    before, after = list(random.normal(size=6)), list(random.normal(1, size=5))
    design = pooled(6, 5)
    shift = difference(before, after, design, 0.05)
    assert shift.low is not None
    assert shift.high is not None
    for moved, rejected in (
        (shift.low - 1e-6, True),
        (shift.low + 1e-6, False),
        (shift.high - 1e-6, False),
        (shift.high + 1e-6, True),
    ):
        p_value = rank_test(before, [value - moved for value in after], design)
        assert (p_value <= 0.05) is rejected


def test_ratios() -> None:
    design = pooled(4, 4)
    found = ratio([10, 20, 30, 40], [1, 2, 3, 4], design, 0.05)
    assert found is not None
    assert found.estimate == pytest.approx(0.1)
    assert (found.low, found.high) == (0.025, 0.4)
    assert ratio([0, 1], [1, 2], pooled(2, 2), 0.05) is None


def test_the_example_of_holm() -> None:
    # four hypotheses, by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and never smaller than before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def naive_adjusted(columns: list[tuple[list[int], list[int]]], design: Design) -> tuple[float, ...]:
    """Westfall and Young, word for word: the largest of the smallest p-values' shares."""
    distances = [rank_sums(*column, design) for column in columns]
    ways = range(len(distances[0]))
    p_values = [
        [sum(other >= one - 1e-9 for other, _ in column) / len(column) for one, _ in column]
        for column in distances
    ]
    seen = next(way for way in ways if distances[0][way][1])
    order = sorted(range(len(columns)), key=lambda place: p_values[place][seen])
    found, highest = [0.0] * len(columns), 0.0
    for step, place in enumerate(order):
        least = [min(p_values[k][way] for k in order[step:]) for way in ways]
        share = sum(one <= p_values[place][seen] + 1e-9 for one in least) / len(least)
        highest = max(highest, share)
        found[place] = highest
    return tuple(found)


@given(data=st.data(), figures=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_adjusted_p_values_count_every_way(data: st.DataObject, figures: int) -> None:
    values = st.lists(st.integers(0, 5), min_size=4, max_size=4)
    columns = [(data.draw(values), data.draw(values)) for _ in range(figures)]
    design = data.draw(st.sampled_from([pooled(4, 4), blocked([0, 0, 1, 1], [0, 0, 1, 1])]))
    found = adjusted(columns, design)
    assert found == pytest.approx(naive_adjusted(columns, design))
    alone = [rank_test(*column, design) for column in columns]
    together = holm(alone)
    for one, mine, holms in zip(alone, found, together, strict=True):
        assert one - 1e-12 <= mine <= holms + 1e-12


def test_figures_that_agree_cost_nothing() -> None:
    design = pooled(4, 4)
    apart = ([1.0, 2, 3, 4], [5.0, 6, 7, 8])
    assert adjusted([apart] * 4, design) == pytest.approx((2 / 70,) * 4)
    mixed = ([1.0, 2, 3, 4], [1.5, 2.5, 3.5, 4.5])
    assert adjusted([apart, mixed], design)[0] == pytest.approx(4 / 70)
    assert adjusted([], design) == ()


def test_many_trials_are_adjusted_as_holm_does() -> None:
    random = np.random.default_rng(4)
    columns = [(list(random.normal(size=20)), list(random.normal(size=20))) for _ in range(3)]
    design = pooled(20, 20)
    assert adjusted(columns, design) == holm([rank_test(*column, design) for column in columns])


# -- by simulation -------------------------------------------------------------------------------


def abba(random: np.random.Generator, rounds: int, drift: float) -> tuple[list[float], list[float]]:
    """Trials without a difference, skewed, measured ABBA ... on a machine that drifts."""
    noise = random.lognormal(0, 1, 2 * rounds) + drift * np.arange(2 * rounds)
    first = [place for place in range(2 * rounds) if place % 4 in (0, 3)]
    second = [place for place in range(2 * rounds) if place % 4 in (1, 2)]
    return list(noise[first]), list(noise[second])


@pytest.mark.parametrize("drift", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("rounds", [4, 6])
def test_the_size_of_the_test(rounds: int, drift: float) -> None:
    """Of comparisons without a difference at most 5 in 100 show one, drift or not."""
    random = np.random.default_rng(5)
    numbers = [place // 2 for place in range(rounds)]
    shown = {"freely": 0, "within blocks": 0}
    trials = 1500
    for _ in range(trials):
        before, after = abba(random, rounds, drift)
        shown["freely"] += rank_test(before, after, pooled(rounds, rounds)) <= 0.05
        shown["within blocks"] += rank_test(before, after, blocked(numbers, numbers)) <= 0.05
    limit = stats.binom.ppf(0.999, trials, 0.05)
    assert max(shown.values()) <= limit, shown


def test_blocks_find_what_the_day_hides() -> None:
    """The level changes from block to block by far more than the difference to be found."""
    random = np.random.default_rng(6)
    numbers = [place // 2 for place in range(6)]
    freely = within = 0
    for _ in range(200):
        level = random.normal(0, 100, 3)[numbers]
        before = list(level + random.lognormal(0, 1, 6))
        after = list(level + random.lognormal(0, 1, 6) + 15)
        freely += rank_test(before, after, pooled(6, 6)) <= 0.05
        within += rank_test(before, after, blocked(numbers, numbers)) <= 0.05
    assert freely < 20
    assert within > 150


def test_the_size_over_all_figures_together() -> None:
    """Four figures that hang together; at most 5 in 100 comparisons show a change in any."""
    random = np.random.default_rng(7)
    wrong, trials = 0, 1000
    design = pooled(5, 5)
    for _ in range(trials):
        common = random.normal(size=10)
        figures = [common + 0.7 * random.normal(size=10) for _ in range(4)]
        columns = [(list(figure[:5]), list(figure[5:])) for figure in figures]
        wrong += min(adjusted(columns, design)) <= 0.05
    assert wrong <= stats.binom.ppf(0.999, trials, 0.05)


SIX: list[int] = [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("design", [pooled(4, 4), pooled(6, 5), blocked(SIX, SIX)])
def test_intervals_of_a_shift_hold(design: Design) -> None:
    random = np.random.default_rng(8)
    sizes = [sum(len(getattr(block, side)) for block in design) for side in ("before", "after")]
    holds, trials = 0, 1500
    for _ in range(trials):
        before = list(random.lognormal(0, 1.5, sizes[0]))
        after = list(random.lognormal(0, 1.5, sizes[1]) + 3)
        shift = difference(before, after, design, 0.05)
        assert shift.low is not None
        assert shift.high is not None
        holds += shift.low <= 3 <= shift.high
    assert holds >= stats.binom.ppf(0.001, trials, 0.95)
