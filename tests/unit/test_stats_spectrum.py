"""Candidates: the true frequency is among them, whatever the length and the shape of the trial."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vmjitter.stats.folding import MIN_CYCLES
from vmjitter.stats.phases import HARMONICS, PROFILE_BINS, h_statistic, stacked_h, stacked_log_p
from vmjitter.stats.spectrum import candidates

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]


def every(period: float, span: int, start: float = 0.0) -> Int64s:
    place = np.ceil(start + period * np.arange(int(span / period) + 1)).astype(np.int64)
    return np.unique(place[place < span])


def with_others(events: Int64s, count: int, span: int, seed: int = 1) -> Int64s:
    others = np.random.default_rng(seed).integers(0, span, count)
    return np.unique(np.concatenate([events, others]))


def nearest(events: Int64s, span: int, frequency: float, *, harmonic: int = 1) -> float:
    """How far the nearest candidate is from a frequency, in cycles over its part of the time."""
    return min(
        abs(one.frequency - harmonic * frequency) * span / one.parts
        for one in candidates(events, span)
    )


@pytest.mark.parametrize(
    ("span", "period"),
    [
        (240_000, 4.0),
        (240_000, 2.7),
        (240_000, 100.3),
        (240_000, 1000.0),
        (240_000, 10_000.0),
        (10_000, 100.3),
        (10_000_000, 1000.0),
        (10_000_000, 64_000.0),
    ],
)
def test_the_frequency_of_a_disturber_is_a_candidate(span: int, period: float) -> None:
    """Among as many other late wake-ups again; right enough for `sharpen` to climb from."""
    events = every(period, span, 1.5)
    rng = np.random.default_rng(2)
    if len(events) > 2000:
        events = np.sort(rng.choice(events, 2000, replace=False))
    mixed = with_others(events, len(events), span)
    assert nearest(mixed, span, 1 / period) < 0.55


def test_few_spikes_are_enough() -> None:
    """Six occurrences among six other spikes."""
    span = 240_000
    events = with_others(every(40_000, span, 1234.5), 6, span, seed=3)
    assert nearest(events, span, 1 / 40_000) < 0.3


def test_a_frequency_whose_phase_wanders_is_found_in_parts() -> None:
    span, period = 240_000, 50.0
    rng = np.random.default_rng(5)
    drift = np.cumsum(rng.normal(0, 1.5, int(span / period)))
    place = np.sort(np.ceil(np.arange(len(drift)) * period + drift).astype(np.int64))
    events = np.unique(place[(place >= 0) & (place < span)])
    found = [one for one in candidates(events, span) if one.parts > 1]
    assert min(abs(one.frequency * period - 1) for one in found) < 0.01


def test_all_candidates_are_visible_frequencies() -> None:
    for span in (64, 1000, 50_000):
        events = np.unique(np.random.default_rng(span).integers(0, span, span // 10))
        for one in candidates(events, span):
            assert MIN_CYCLES / span <= one.frequency <= 0.5
            assert one.parts >= 1


def test_the_same_spikes_give_the_same_candidates() -> None:
    events = with_others(every(77.7, 50_000), 300, 50_000)
    assert candidates(events, 50_000) == candidates(events.copy(), 50_000)


def z_squared(phase: Floats) -> Floats:
    """Z^2_1, Z^2_2 ... straight from the definition (Buccheri et al. 1983)."""
    order = np.arange(1, HARMONICS + 1)
    power = np.abs(np.exp(2j * np.pi * np.outer(order, phase)).sum(axis=1)) ** 2
    total: Floats = np.cumsum(power) * 2 / len(phase)
    return total


def whole_h(events: Int64s, frequency: float) -> float:
    part = np.zeros(len(events), np.int64)
    return float(stacked_h(events, part, 1, np.array([frequency]))[0])


def test_h_of_binned_phases_is_that_of_the_definition() -> None:
    """Phases on the bins' edges, where binning changes nothing."""
    rng = np.random.default_rng(6)
    events = np.sort(rng.integers(0, 6400, 500))
    expected = float(h_statistic(z_squared(events / PROFILE_BINS)))
    assert whole_h(events, 1 / PROFILE_BINS) == pytest.approx(expected)


def test_h_of_a_pulse_at_one_phase() -> None:
    """All n phases equal: Z^2_m = 2 n m, so the last harmonic decides: H = 40 n - 76."""
    events = np.arange(50) * PROFILE_BINS
    expected = 2 * 50 * HARMONICS - 4 * HARMONICS + 4
    assert whole_h(events, 1 / PROFILE_BINS) == pytest.approx(expected)


def test_h_of_parts_is_a_sum_over_those_with_spikes() -> None:
    events = np.arange(100) * PROFILE_BINS
    half = (np.arange(100) >= 50).astype(np.int64)
    summed = stacked_h(events, half, 5, np.array([1 / PROFILE_BINS, 0.3]))
    assert summed[0] == pytest.approx(2 * whole_h(events[:50], 1 / PROFILE_BINS))
    each = whole_h(events[:50], 0.3) + whole_h(events[50:], 0.3)
    assert summed[1] == pytest.approx(each)


def test_even_phases_have_the_published_h() -> None:
    """P(H >= h) = exp(-0.4 h): de Jager and Buesching 2010, for h up to 70 or so."""
    rng = np.random.default_rng(7)
    h = np.array([whole_h(np.sort(rng.integers(0, 1 << 40, 200)), 0.1234567) for _ in range(4000)])
    for limit in (2.0, 5.0, 8.0):
        expected = np.exp(-0.4 * limit)
        assert np.mean(h >= limit) == pytest.approx(expected, abs=4 * np.sqrt(expected / 4000))


def test_the_rank_of_a_frequency_is_no_chance_where_phases_agree() -> None:
    part = np.zeros(50, np.int64)
    once = np.array([1 / 64])
    assert stacked_log_p(np.arange(50) * 64, part, 1, once)[0] < -500
    assert stacked_log_p(np.arange(50) * 64 + np.arange(50), part, 1, once)[0] > -5
