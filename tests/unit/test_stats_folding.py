"""Folding: the p-value holds what it says, and the period that is found is the right one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from vmjitter.stats import folding
from vmjitter.stats.folding import (
    Candidate,
    fold,
    log_tail,
    parts_of,
    regress,
    sharpen,
    start_of,
    width_of,
)

Int64s = NDArray[np.int64]

SPAN = 100_000


def every(period: float, start: float = 0.0, span: int = SPAN) -> Int64s:
    """The activations that are hit by what happens every so many activations."""
    place = np.ceil(start + period * np.arange(int(span / period) + 1)).astype(np.int64)
    return np.unique(place[place < span])


def scattered(count: int, seed: int, span: int = SPAN) -> Int64s:
    return np.sort(np.random.default_rng(seed).choice(span, count, replace=False))


@given(st.integers(1, 400), st.floats(0.001, 0.999), st.data())
def test_the_tail_is_an_upper_limit_of_the_binomial_tail(
    cycles: int, chance: float, data: st.DataObject
) -> None:
    hits = data.draw(st.integers(0, cycles))
    limit = log_tail(hits, cycles, chance)
    assert limit <= 0
    exact = float(binom.logsf(hits - 1, cycles, chance))  # right to some 1e-10 of itself
    assert limit >= exact - 1e-6 * (1 + abs(exact))


@settings(max_examples=300)
@given(
    st.one_of(
        st.floats(2.0, 300.0),
        st.builds(lambda over, under: over / under, st.integers(20, 400), st.integers(1, 9)),
    ),
    st.integers(1, 8),
    st.integers(2000, 6000),
)
def test_no_window_holds_more_activations_than_is_allowed_for(
    period: float, power: int, span: int
) -> None:
    """Also where a window that is 1.25 activations wide holds two of them in every cycle."""
    bins = 1 << power
    assume(2 <= period <= span / 8 and bins <= period)
    for shift in (0, 1):
        window = folding._keys(np.arange(span), 1 / period, bins, shift) % bins
        most = int(np.bincount(window).max())
        partial = math.ceil(period / bins)  # the last cycle may end right behind the window
        assert most - partial <= folding._share(1 / period, span, bins) * span


def test_a_burst_counts_once() -> None:
    """A hundred late wake-ups in one cycle are one event, not a hundred."""
    burst = np.arange(5_000, 5_100)
    now = fold(burst, SPAN, Candidate(1 / 10_000, 1), 4)
    assert (now.hits, now.cycles) == (1, 1)
    assert now.log_p == 0


def test_regular_spikes_meet_one_window() -> None:
    events = every(1000.0, 250)
    now = fold(events, SPAN, Candidate(1 / 1000, 1), 512)
    assert (now.hits, now.cycles) == (100, 100)
    assert now.strength == pytest.approx(1)
    assert now.inside(events).all()
    assert not now.inside(events + 500).any()
    assert now.log_p < -400


def test_a_margin_lets_in_the_neighbours() -> None:
    events = every(1024.0, 100)
    now = fold(events, SPAN, Candidate(1 / 1024, 1), 512)
    assert not now.inside(events + 2).any()
    assert now.inside(events + 2, margin=1).all()
    assert not now.inside(events + 6, margin=1).any()


def test_the_strength_is_the_share_beyond_chance() -> None:
    """Each second cycle has its spike somewhere else."""
    events = every(1000.0)
    events[::2] += np.random.default_rng(4).integers(1, 900, len(events[::2]))
    now = fold(np.sort(events), SPAN, Candidate(1 / 1000, 1), 256)
    assert now.strength == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("period", [2.5, 4.0, 100.3, 777.7, 12_345.6])
def test_sharpen_finds_the_exact_period(period: float) -> None:
    events = every(period, 1.7)
    rough = Candidate(1 / period + 0.3 / SPAN, 1)
    now = sharpen(events, SPAN, rough)
    line = regress(events, now)
    assert line is not None
    assert now.hits >= 0.9 * now.cycles
    assert line.period == pytest.approx(period, rel=1e-3)
    assert abs(line.period - period) < 4 * line.error


def test_the_uncertainty_of_a_period_holds() -> None:
    """Two standard errors hold the truth about 19 times out of 20; here 200 jittery disturbers."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        period = rng.uniform(900, 1100)
        ideal = rng.uniform(0, 900) + period * np.arange(80) + rng.normal(0, 3, 80)
        events = np.ceil(np.sort(ideal[ideal > 0])).astype(np.int64)
        now = sharpen(events, SPAN, Candidate(1 / period, 1))
        line = regress(events, now)
        assert line is not None
        held += abs(line.period - period) <= 2 * line.error
    assert held >= binom.ppf(1e-4, 200, 0.90)


@pytest.mark.parametrize("start", [0.0, 0.4, 17.2, 640.0])
def test_the_start_is_the_first_occurrence(start: float) -> None:
    events = every(997.0, start)
    now = sharpen(events, SPAN, Candidate(1 / 997, 1))
    line = regress(events, now)
    assert line is not None
    assert start_of(events, now, line.period) == pytest.approx(math.ceil(start), abs=1.5)


def test_a_phase_that_jumps_is_found_in_parts() -> None:
    rng = np.random.default_rng(9)
    quarters = [
        SPAN // 4 * quarter + every(97.3, rng.uniform(0, 97), SPAN // 4) for quarter in range(4)
    ]
    events = np.concatenate(quarters)
    together = fold(events, SPAN, Candidate(1 / 97.3, 1), 16)
    apart = fold(events, SPAN, Candidate(1 / 97.3, 4), 16)
    assert apart.hits > 0.9 * len(events)
    assert apart.log_p < together.log_p - 100
    line = regress(events, apart)
    assert line is not None
    assert line.period == pytest.approx(97.3, rel=1e-4)


def test_parts_are_equal_and_hold_all_of_the_time() -> None:
    part = parts_of(np.arange(1000), 1000, 7)
    assert set(part.tolist()) == set(range(7))
    assert np.bincount(part)[:-1].tolist() == [143] * 6


@pytest.mark.parametrize(("share", "low", "high"), [(0.002, 0.0, 0.02), (0.2, 0.15, 0.45)])
def test_the_width_is_that_of_the_disturbance(share: float, low: float, high: float) -> None:
    """Spikes all over a fifth of the cycle, and spikes of one moment, among others anywhere."""
    rng = np.random.default_rng(11)
    period = 5000.0
    phase = (rng.integers(0, 20, 400) + rng.uniform(0.3, 0.3 + share, 400)) * period
    events = np.sort(np.concatenate([phase.astype(np.int64), scattered(100, 12)]))
    now = sharpen(events, SPAN, Candidate(1 / period, 1))
    assert low <= width_of(events, now) <= high


def test_scattered_spikes_give_no_small_p_value() -> None:
    """The p-value is corrected for every fold that could have been chosen: 300 of the best."""
    rng = np.random.default_rng(21)
    small = 0
    for seed in range(300):
        events = scattered(int(rng.integers(8, 300)), seed)
        trial = Candidate(float(rng.uniform(5 / SPAN, 0.5)), int(rng.choice([1, 16])))
        small += sharpen(events, SPAN, trial).log_p < math.log(0.01)
    assert small == 0
