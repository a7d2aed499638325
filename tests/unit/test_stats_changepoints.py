"""Change points: at the right place, and none where there is none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from vmjitter.stats.changepoints import PENALTY, SHORTEST, Scores, change_points, scores

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]

SIZE = 200


def remembering(rng: np.random.Generator, memory: float, size: int = SIZE) -> Floats:
    """A series of variance 1 whose neighbours have this correlation."""
    noise = rng.normal(size=size) * np.sqrt(1 - memory**2)
    value = np.empty(size)
    value[0] = rng.normal()
    for place in range(1, size):
        value[place] = memory * value[place - 1] + noise[place]
    return value


def whole(value: Floats) -> Int64s:
    return np.rint(value * 1000).astype(np.int64)


@pytest.mark.parametrize("place", [20, 100, 117, 180])
def test_a_step_is_found_where_it_is(place: int) -> None:
    value = np.random.default_rng(place).normal(size=SIZE)
    value[place:] += 3
    (found,) = change_points(scores(whole(value)))
    assert abs(found - place) <= 2


def test_two_steps_are_found() -> None:
    value = np.random.default_rng(1).normal(size=SIZE)
    value[60:90] += 4
    first, second = change_points(scores(whole(value)))
    assert abs(first - 60) <= 2
    assert abs(second - 90) <= 2


def test_a_step_is_found_in_heavy_tails() -> None:
    """Latencies that no mean exists of; a mean shift would drown."""
    value = np.random.default_rng(2).pareto(0.9, SIZE)
    value[120:] = 5 * value[120:] + 3
    (found,) = change_points(scores(whole(value)))
    assert abs(found - 120) <= 4


def test_one_enormous_value_is_no_change() -> None:
    value = np.random.default_rng(3).normal(size=SIZE)
    value[150] = 1e9
    assert change_points(scores(whole(value))) == ()


@pytest.mark.parametrize("memory", [0.0, 0.3, 0.6])
def test_false_alarms_are_rare_also_if_the_series_remembers(memory: float) -> None:
    """At most 1 % where neighbours are hardly correlated; 1.2 % was simulated at 0.6."""
    alarms = 0
    for seed in range(300):
        series = whole(remembering(np.random.default_rng(seed), memory))
        alarms += bool(change_points(scores(series)))
    assert alarms <= binom.ppf(0.999, 300, 0.012)


def test_a_lower_penalty_finds_more() -> None:
    series = whole(np.random.default_rng(4).normal(size=SIZE))
    assert change_points(scores(series)) == ()
    assert len(change_points(scores(series), penalty=0.5)) > 5


@pytest.mark.parametrize("memory", [0.0, 0.3, 0.6, 0.8])
def test_the_long_run_variance_is_that_of_the_mean(memory: float) -> None:
    rng = np.random.default_rng(5)
    found = [scores(whole(remembering(rng, memory))) for _ in range(200)]
    assert abs(np.mean([one.memory for one in found]) - memory) < 0.06
    expected = (1 + memory) / (1 - memory)
    assert np.median([one.variance for one in found]) == pytest.approx(expected, rel=0.35)


def test_a_step_does_not_look_like_memory() -> None:
    value = np.random.default_rng(6).normal(size=SIZE)
    value[100:] += 4
    assert scores(whole(value)).memory < 0.35


def test_equal_elements_get_equal_scores() -> None:
    scored = scores(np.array([5, 1, 5, 9, 5, 1]))
    assert scored.value[0] == scored.value[2] == scored.value[4]
    assert scored.value[1] == scored.value[5] < scored.value[0] < scored.value[3]


def test_a_constant_series_has_no_change() -> None:
    scored = scores(np.full(SIZE, 7))
    assert (scored.memory, scored.variance) == (0.0, 0.0)
    assert change_points(scored) == ()


def cost(value: Floats, places: tuple[int, ...], penalty: float) -> float:
    segments = [value[a:b] for a, b in pairwise((0, *places, len(value)))]
    return sum(float(((part - part.mean()) ** 2).sum()) + penalty for part in segments)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=12, max_size=14), st.floats(0.2, 5))
def test_no_other_partition_is_better(series: list[int], penalty: float) -> None:
    """The minimum is exact: against all partitions with up to two changes."""
    value = np.array(series, np.float64)
    scored = Scores(value=value, memory=0.0, variance=1.0)
    found = change_points(scored, penalty=penalty)
    size = len(value)
    one = [(a,) for a in range(SHORTEST, size - SHORTEST + 1)]
    two = [(a, b) for (a,) in one for b in range(a + SHORTEST, size - SHORTEST + 1)]
    best = min(cost(value, places, penalty) for places in [(), *one, *two])
    assert cost(value, found, penalty) <= best + 1e-9


@given(st.lists(st.integers(-(10**12), 10**12), min_size=4, max_size=60))
def test_any_series_has_an_answer(series: list[int]) -> None:
    found = change_points(scores(np.array(series, np.int64)), penalty=PENALTY)
    assert list(found) == sorted(set(found))
    assert all(SHORTEST <= place <= len(series) - SHORTEST for place in found)
