"""Stationarity: a trial that changes is found out, one that does not is left in peace."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from vmjitter.stats.digest import Digest, digest_of, unordered
from vmjitter.stats.histogram import MISSED, histogram_of
from vmjitter.stats.stationarity import (
    FEWEST_ACTIVATIONS,
    GROUPS,
    PARTS,
    WARM_UP_PARTS,
    Stationarity,
    stationarity,
)
from vmjitter.units import NS_PER_MS

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]


def usual(seed: int, size: int = 40_000) -> Floats:
    """Latencies of one mechanism."""
    series: Floats = 20_000 + np.random.default_rng(seed).gamma(2, 1500, size)
    return series


def digest(
    latency_ns: Floats | Int64s, deadline_ns: int | None = None, period_ns: int = NS_PER_MS
) -> Digest:
    values = latency_ns.astype(np.int64)
    return digest_of(
        [values], period_ns=period_ns, activations=len(values), deadline_ns=deadline_ns
    )


def look(latency_ns: Floats | Int64s, deadline_ns: int | None = None) -> Stationarity:
    found = stationarity(digest(latency_ns, deadline_ns))
    assert found is not None
    return found


def test_a_trial_that_stays_the_same() -> None:
    result = look(usual(1))
    assert result.stationary
    assert result.findings == ()
    assert result.changes == ()
    assert result.parts == PARTS
    assert result.halves.p_value > 0.05
    assert result.halves.misses_p_value is None
    assert result.halves.misses == (0, 0)
    assert not result.warm_up.differs


@pytest.mark.parametrize("place", [8_000, 23_400, 34_000])
def test_a_step_is_found_where_it_is(place: int) -> None:
    series = usual(2)
    series[place:] *= 1.4
    result = look(series)
    (change,) = result.changes
    assert change.at_activation == pytest.approx(place, abs=2 * len(series) / PARTS)
    assert change.at_ns == change.at_activation * NS_PER_MS
    assert change.after_ns / change.before_ns == pytest.approx(1.4, rel=0.05)
    assert not result.stationary
    assert any("the latest wake-ups change at 0:" in text for text in result.findings)


def test_a_bad_time_in_the_middle_is_two_changes() -> None:
    series = usual(3)
    series[20_000:26_000] += 20_000
    first, second = look(series).changes
    assert first.at_activation == pytest.approx(20_000, abs=400)
    assert second.at_activation == pytest.approx(26_000, abs=400)
    assert first.after_ns == second.before_ns


def test_halves_that_differ_are_found() -> None:
    series = usual(4)
    series[20_000:] += 8_000
    halves = look(series).halves
    assert halves.p_value == pytest.approx(2 / comb(GROUPS, GROUPS // 2))  # the least there is
    assert halves.max_ns[0] < halves.max_ns[1]


def test_misses_that_come_in_the_second_half_only() -> None:
    """Latencies up to the deadline are the same throughout."""
    rng = np.random.default_rng(5)
    series = usual(5)
    series[rng.integers(21_000, 40_000, 60)] = 90_000
    result = look(series, deadline_ns=80_000)
    assert result.halves.misses[0] == 0
    assert result.halves.misses[1] == int((series > 80_000).sum())
    assert result.halves.misses_p_value is not None
    assert result.halves.misses_p_value < 1e-3
    assert any("0 misses in the first" in text for text in result.findings)


def test_overruns_are_misses_without_a_deadline() -> None:
    series = usual(6).astype(np.int64)
    series[30_000:30_100] = MISSED
    assert look(series).halves.misses == (0, 100)


def test_a_warm_up_is_found_and_its_figures_are_given_without_it() -> None:
    series = usual(7)
    series[:1_500] += 30_000
    series[10] = 95_000.0
    series[35_000] = 90_000.0
    warm_up = look(series, deadline_ns=85_000).warm_up
    cut = len(series) * WARM_UP_PARTS // PARTS
    assert warm_up.differs
    assert (warm_up.activations, warm_up.duration_ns) == (cut, cut * NS_PER_MS)
    assert (warm_up.max_ns, warm_up.max_without_ns) == (95_000, 90_000)
    assert (warm_up.misses, warm_up.misses_without) == (2, 1)
    assert warm_up.rule == "the first 5 % of the activations"
    for part, value_ns in ((series, warm_up.p999_ns), (series[cut:], warm_up.p999_without_ns)):
        ordered = np.sort(part.astype(np.int64))
        assert value_ns == ordered[len(ordered) - 1 - len(ordered) // 1000]


def test_the_finding_on_the_warm_up_names_both_maxima() -> None:
    series = usual(8)
    series[:2_000] += 60_000
    (text,) = [text for text in look(series).findings if text.startswith("the beginning")]
    assert f"maximum {series.max() / 1000:.2f} µs"[:13] in text
    assert "0 misses without it" in text
    assert "the first 5 % of the activations (2 s)" in text


def test_the_warm_up_of_a_trial_with_overruns_counts_wake_ups() -> None:
    series = usual(9).astype(np.int64)
    series[100:1_100] = MISSED
    warm_up = look(series).warm_up
    awake = np.sort(series[series != MISSED])
    assert warm_up.p999_ns == awake[len(awake) - 1 - len(awake) // 1000]
    assert (warm_up.misses, warm_up.misses_without) == (1_000, 0)


def heavy(rng: np.random.Generator) -> Floats:
    """A tail without a mean."""
    return 20_000 + 1_000 * rng.pareto(0.9, 10_000)


def coarse(rng: np.random.Generator) -> Floats:
    """Whole microseconds: most parts have the same maximum."""
    series: Floats = np.floor(20 + rng.gamma(2, 1.5, 10_000)) * 1_000
    return series


def bursts(rng: np.random.Generator) -> Floats:
    """Bad times of a third of a part to three parts, at any time."""
    series = 20_000 + rng.gamma(2, 1500, 10_000)
    for begin in rng.integers(0, 10_000, 60):
        series[begin : begin + int(rng.integers(15, 150))] += rng.exponential(10_000)
    return series


def regular(rng: np.random.Generator) -> Floats:
    """A disturber every 410 activations."""
    series = 20_000 + rng.gamma(2, 1500, 10_000)
    series[int(rng.integers(0, 410)) :: 410] += rng.uniform(30_000, 60_000)
    return series


@pytest.mark.parametrize("make", [heavy, coarse, bursts, regular])
def test_false_findings_are_rare(make: Callable[[np.random.Generator], Floats]) -> None:
    """Of all tests together at most 2 of 100 trials."""
    wrong = sum(
        not look(make(np.random.default_rng(seed)), deadline_ns=28_000).stationary
        for seed in range(150)
    )
    assert wrong <= binom.ppf(0.999, 150, 0.02)


def test_a_long_trial_is_judged_by_its_latest_wake_ups() -> None:
    series = usual(10, 400_000)
    assert look(series).stationary
    series[300_000:] *= 1.15
    (change,) = look(series).changes
    assert change.at_activation == pytest.approx(300_000, abs=4_000)


def test_a_part_without_any_wake_up_is_the_worst_one() -> None:
    series = usual(11).astype(np.int64)
    series[20_000:24_000] = MISSED
    first, second = look(series).changes
    assert first.at_activation == pytest.approx(20_000, abs=400)
    assert second.at_activation == pytest.approx(24_000, abs=400)


def test_without_order_or_with_too_little_there_is_no_answer() -> None:
    assert stationarity(unordered(histogram_of(np.arange(5_000)), period_ns=NS_PER_MS)) is None
    assert stationarity(digest(usual(12, FEWEST_ACTIVATIONS - 1))) is None
    assert stationarity(digest(np.full(5_000, MISSED))) is None
    mostly = usual(13, 5_000).astype(np.int64)
    mostly[2_000:] = MISSED
    assert stationarity(digest(mostly)) is None


def test_without_a_period_places_are_activations() -> None:
    series = usual(14)
    series[20_000:] *= 1.5
    found = stationarity(digest(series, period_ns=0))
    assert found is not None
    assert found.changes[0].at_ns == 0
    assert any("the latest wake-ups change at activation" in text for text in found.findings)


def test_equal_latencies_are_stationary() -> None:
    assert look(np.full(5_000, 12_345)).stationary


def test_the_same_trial_gives_the_same_answer() -> None:
    assert look(usual(15)) == look(usual(15))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.9), st.integers(2_000, 3_000))
def test_any_trial_has_an_answer(seed: int, missed: float, size: int) -> None:
    rng = np.random.default_rng(seed)
    series = rng.integers(-1_000, 100_000, size)
    series[rng.random(size) < missed] = MISSED
    result = look(series, deadline_ns=50_000)
    assert 0 <= result.halves.p_value <= 1
    assert 0 <= result.warm_up.p_value <= 1
    assert result.stationary == (not result.findings)
    assert sum(result.halves.misses) == int(((series > 50_000) | (series == MISSED)).sum())
