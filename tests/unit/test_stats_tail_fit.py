"""The parts of a projection, against other programs and against laws whose truth is known.

Reference values: R 4.2.2 with evd 2.3-6.1 (``fpot``, ``profile`` and ``confint(level=0.9)``, whose
ends are one-sided 95 % limits; ``exi(r=0)``, ``clusters``), pyextremes 2.6.1, lmoments3 and
statsmodels (``acorr_ljungbox``).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import genpareto, kstest

from vmjitter.stats.tail.clusters import decluster, extremal_index
from vmjitter.stats.tail.goodness import anderson_darling, forward_stop, p_value
from vmjitter.stats.tail.pareto import (
    SHAPE_HIGH,
    SHAPE_LOW,
    Excesses,
    Pareto,
    by_l_moments,
    by_likelihood,
    contour,
    excesses,
    log_likelihood,
)
from vmjitter.stats.tail.projection import return_level
from vmjitter.stats.tail.randomness import change_point, halves_differ, remembers, unevenly_spread

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]

ONE_SIDED_95 = 1.6448536269514722**2 / 2


def pareto_sample(rng: np.random.Generator, size: int, shape: float, scale: float) -> Floats:
    exponential = rng.exponential(size=size)
    if shape == 0:
        return scale * exponential
    return np.asarray(scale * np.expm1(shape * exponential) / shape)


def plain_quantiles(shape: float) -> Excesses:
    """150 evenly spaced quantiles of a law with scale 5000, in whole ns."""
    share = (np.arange(150) + 0.5) / 150
    values = np.floor(5000 * np.expm1(-shape * np.log1p(-share)) / shape)
    return excesses(values.astype(np.int64), 0, 1)


def likelihood_of(data: Excesses, fit: Pareto) -> float:
    return float(log_likelihood(data, np.array([fit.shape]), np.array([fit.scale]))[0])


@pytest.mark.parametrize(
    ("shape", "fit", "likelihood"),
    [
        (0.2, (0.1883566791, 5044.3114), -1457.1559879),
        (-0.25, (-0.2665315209, 5073.4646), -1389.7871556),
    ],
)
def test_likelihood_fit_is_that_of_evd_and_pyextremes(
    shape: float, fit: tuple[float, float], likelihood: float
) -> None:
    data = plain_quantiles(shape)
    found = by_likelihood(data)
    assert found == pytest.approx(fit, rel=2e-5)
    assert likelihood_of(data, found) == pytest.approx(likelihood, abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "shapes", "levels"),
    [
        (0.2, (0.04681264, 0.37534316), (52674.85, 204182.73)),
        (-0.25, (-0.3668599, -0.1326000), (14730.826, 21754.465)),
    ],
)
def test_limits_are_the_profile_limits_of_evd(
    shape: float, shapes: tuple[float, float], levels: tuple[float, float]
) -> None:
    data = plain_quantiles(shape)
    line = contour(data, by_likelihood(data), ONE_SIDED_95)
    assert (line[0].min(), line[0].max()) == pytest.approx(shapes, abs=2e-4)
    level = return_level(*line, 15 * 150)
    assert (level.min(), level.max()) == pytest.approx(levels, rel=5e-4)


@pytest.mark.parametrize(
    ("shape", "first", "second"),
    [(0.2, 6200.44, 3445.399686800895), (-0.25, 3998.0466666666666, 1787.677941834452)],
)
def test_l_moments_are_those_of_lmoments3(shape: float, first: float, second: float) -> None:
    found = by_l_moments(plain_quantiles(shape))
    expected = Pareto(2 - first / second, first * (first / second - 1))
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [-0.4, -0.2, 0.0, 0.2, 0.45])
@pytest.mark.parametrize("size", [50, 500])
def test_likelihood_is_no_worse_than_scipys(shape: float, size: int) -> None:
    rng = np.random.default_rng([size, int(100 * shape) + 100])
    values = pareto_sample(rng, size, shape, 20_000).astype(np.int64)
    data = excesses(values, 0, 1)
    other_shape, _, other_scale = genpareto.fit(values + 0.5, floc=0)
    theirs = genpareto.logpdf(values + 0.5, other_shape, scale=other_scale).sum()
    assert likelihood_of(data, by_likelihood(data)) >= theirs - 1e-3


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_likelihood_of_an_interval_is_its_probability(shape: float) -> None:
    low = np.array([0, 3, 3, 8, 13], np.int64) * 1000
    data = excesses(low, 0, 1000)
    law = genpareto(shape, scale=5000)
    expected = np.log(law.sf(low) - law.sf(low + 1000)).sum()
    assert likelihood_of(data, Pareto(shape, 5000)) == pytest.approx(expected, rel=1e-8)


def test_an_excess_beyond_the_end_point_is_impossible() -> None:
    data = excesses(np.array([0, 9_999, 10_001]), 0, 1)
    assert likelihood_of(data, Pareto(-0.5, 5001)) > -np.inf
    assert likelihood_of(data, Pareto(-0.5, 5000)) == -np.inf


@pytest.mark.parametrize(
    ("shape", "width_ns"), [(-0.3, 1000), (0.0, 1000), (0.0, 2500), (0.3, 1000), (0.3, 2500)]
)
def test_coarse_latencies_give_the_same_fit(shape: float, width_ns: int) -> None:
    rng = np.random.default_rng(int(100 * shape) + 100)
    fine = pareto_sample(rng, 400, shape, 5000).astype(np.int64)
    expected = by_likelihood(excesses(fine, 0, 1))
    data = excesses(fine // width_ns * width_ns, 0, width_ns)
    assert 10 <= len(data.low) < 60
    for found in (by_likelihood(data), by_l_moments(data)):
        assert found.shape == pytest.approx(expected.shape, abs=0.06)
        assert found.scale == pytest.approx(expected.scale, rel=0.07)


@given(
    values=st.lists(st.integers(0, 1 << 40), min_size=20, max_size=80).filter(
        lambda values: len(set(values)) >= 10
    ),
    width=st.sampled_from([1, 1000]),
)
def test_any_excesses_have_a_fit_within_bounds(values: list[int], width: int) -> None:
    data = excesses(np.array(values) // width * width, 0, width)
    found = by_likelihood(data)
    assert SHAPE_LOW <= found.shape <= SHAPE_HIGH
    assert likelihood_of(data, found) > -np.inf
    shapes, scales = contour(data, found, ONE_SIDED_95)
    assert shapes.min() <= found.shape <= shapes.max()
    assert np.isfinite(shapes).all()
    assert (scales > 0).all()


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.2])
def test_the_estimates_are_right_in_the_mean(shape: float) -> None:
    rng = np.random.default_rng(int(100 * shape) + 300)
    found = []
    for _ in range(150):
        data = excesses(pareto_sample(rng, 300, shape, 5000).astype(np.int64), 0, 1)
        found.append((by_likelihood(data).shape, by_l_moments(data).shape))
    error = (1 + shape) / np.sqrt(300)
    assert np.mean(found, axis=0) == pytest.approx([shape, shape], abs=0.4 * error)
    assert np.std(found, axis=0)[0] == pytest.approx(error, rel=0.2)


def test_anderson_darling_is_the_textbook_sum() -> None:
    rng = np.random.default_rng(3)
    values = np.unique(pareto_sample(rng, 100, 0.1, 5000).astype(np.int64))
    share = np.sort(genpareto.cdf(values + 0.5, 0.1, scale=5000))
    place = np.arange(1, len(share) + 1)
    total = ((2 * place - 1) * (np.log(share) + np.log(1 - share[::-1]))).sum()
    found = anderson_darling(excesses(values, 0, 1), Pareto(0.1, 5000))
    assert found == pytest.approx(-len(share) - total / len(share), abs=1e-3)


@pytest.mark.parametrize("shape", [-0.3, 0.3])
@pytest.mark.parametrize("width_ns", [1, 1000])
def test_p_values_of_a_true_law_are_uniform(shape: float, width_ns: int) -> None:
    rng = np.random.default_rng([int(100 * shape) + 100, width_ns])
    found = []
    for _ in range(200):
        values = pareto_sample(rng, 120, shape, 5000).astype(np.int64) // width_ns * width_ns
        data = excesses(values, 0, width_ns)
        fit = by_likelihood(data)
        found.append(p_value(anderson_darling(data, fit), fit.shape))
    assert kstest(found, "uniform").pvalue > 0.001


def test_p_value_falls_with_the_distance_and_beyond_the_table() -> None:
    found = [p_value(distance, 0.1) for distance in np.linspace(0.05, 20, 400)]
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.001
    assert p_value(2.2, 0.1) < p_value(1.9, 0.1) < 0.005
    assert max(found) <= 0.99


def test_p_value_depends_on_the_shape() -> None:
    assert p_value(0.972, 0.0) == pytest.approx(0.05)
    assert p_value(0.972, -0.5) > 0.07
    assert p_value(0.972, 0.5) < 0.03
    assert p_value(0.972, -3) == p_value(0.972, -0.5)


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ([], 0),
        ([0.5, 0.5], 0),
        ([0.001, 0.001, 0.5, 0.5], 2),
        ([0.001] * 10 + [0.5, 0.5, 0.5], 11),
        ([0.05, 0.2, 0.02, 0.6], 3),
        ([0.001, 0.002], 2),
    ],
)
def test_forward_stop_by_hand(p_values: list[float], rejected: int) -> None:
    assert forward_stop(p_values, 0.1) == rejected


@given(p_values=st.lists(st.floats(0.0001, 0.99), min_size=1, max_size=20))
def test_forward_stop_accepts_none_that_is_rejected_alone(p_values: list[float]) -> None:
    rejected = forward_stop(p_values, 0.1)
    assert rejected == len(p_values) or p_values[rejected] > 1 - np.exp(-0.1)


def moving_maximum(width: int, size: int) -> Int64s:
    """Extremal index 1/width: each value is the latest of so many independent ones."""
    rng = np.random.default_rng(20240601)
    values = np.floor(rng.exponential(2000, size + width - 1)).astype(np.int64)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(values, width).max(axis=1))


@pytest.mark.parametrize(
    ("threshold", "exceedances", "theta", "clusters", "total"),
    [
        (5000, 898, 0.338196244593, 253, 1861212),
        (8000, 246, 0.352625901903, 76, 779078),
        (10000, 93, 0.345532954172, 30, 365302),
    ],
)
def test_bursts_are_those_of_evd(
    threshold: int, exceedances: int, theta: float, clusters: int, total: int
) -> None:
    series = moving_maximum(3, 4000)
    index = np.flatnonzero(series > threshold)
    found = decluster(index, series[index])
    assert len(index) == exceedances
    assert found.theta == pytest.approx(theta, rel=1e-11)
    assert (len(found.start), int(found.latest_ns.sum())) == (clusters, total)
    assert found.run_length == 1


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_extremal_index_of_a_maximum_autoregression(share: float) -> None:
    """``X = max((1 - share) * X, share * Z)`` with unit Frechet ``Z`` has the index ``share``."""
    rng = np.random.default_rng(int(share * 10))
    found = []
    for _ in range(20):
        noise = share / rng.exponential(size=20_000)
        series = np.empty(len(noise))
        state = 1.0
        for place, value in enumerate(noise):
            state = max((1 - share) * state, value)
            series[place] = state
        index = np.flatnonzero(series > np.quantile(series, 0.98))
        found.append(extremal_index(index))
    assert np.mean(found) == pytest.approx(share, abs=0.05)


def test_extremal_index_of_independent_and_of_periodic_wake_ups() -> None:
    rng = np.random.default_rng(5)
    scattered = np.flatnonzero(rng.random(100_000) < 0.01)
    assert extremal_index(scattered) > 0.9
    periodic = decluster(np.arange(0, 10_000, 100), np.arange(100))
    assert (periodic.theta, periodic.run_length, len(periodic.start)) == (1.0, 0, 100)


@given(
    gaps=st.lists(st.integers(1, 1000), min_size=1, max_size=60),
    seed=st.integers(0, 1000),
)
def test_bursts_divide_the_exceedances(gaps: list[int], seed: int) -> None:
    index = np.concatenate([[0], np.cumsum(gaps)])
    latency = np.random.default_rng(seed).integers(0, 1000, len(index))
    found = decluster(index, latency)
    assert 0 < found.theta <= 1
    assert found.latest_ns.max() == latency.max()
    edge = [*np.searchsorted(index, found.start), len(index)]
    assert edge[0] == 0
    for place, (begin, end) in enumerate(pairwise(edge)):
        assert found.latest_ns[place] == latency[begin:end].max()
        assert (np.diff(index[begin:end]) <= found.run_length).all()
        if begin:
            assert index[begin] - index[begin - 1] > found.run_length


def test_ljung_box_is_that_of_statsmodels_on_normal_scores() -> None:
    rng = np.random.default_rng(20240601)
    series = np.cumsum(rng.normal(size=200)) * 0.1 + rng.normal(size=200)
    ranked = np.argsort(np.argsort(series)).astype(np.int64)
    assert remembers(ranked) == pytest.approx(0.016274, abs=1e-6)


def shuffled(rng: np.random.Generator) -> Int64s:
    return rng.permutation(rng.geometric(0.1, 200)).astype(np.int64)


TESTS: list[Callable[[Int64s], float]] = [
    halves_differ,
    lambda series: change_point(series).p_value,
    remembers,
    lambda series: unevenly_spread(np.sort(series), int(series.max()) + 1),
]


@pytest.mark.parametrize("test", TESTS[:3])
def test_a_shuffled_series_is_seldom_suspected(test: Callable[[Int64s], float]) -> None:
    rng = np.random.default_rng(8)
    assert np.mean([test(shuffled(rng)) < 0.05 for _ in range(300)]) < 0.08


def test_even_places_are_seldom_suspected() -> None:
    rng = np.random.default_rng(9)
    found = [unevenly_spread(np.sort(rng.integers(0, 10_000, 100)), 10_000) for _ in range(300)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09
    assert unevenly_spread(np.arange(5000, 6000, 10), 10_000) < 1e-6


def test_a_step_is_found_where_it_is() -> None:
    series = shuffled(np.random.default_rng(10))
    series[140:] += 8
    found = change_point(series)
    assert found.p_value < 1e-4
    assert found.before == pytest.approx(140, abs=3)
    assert halves_differ(series) < 1e-3
    assert remembers(series) < 1e-3


@pytest.mark.parametrize("test", TESTS[:3])
def test_a_constant_series_is_not_suspected(test: Callable[[Int64s], float]) -> None:
    assert test(np.full(200, 7)) == 1.0


@pytest.mark.parametrize("clusters", [2.0, 750.0])
def test_return_level_is_the_inverse_of_the_survival_function(clusters: float) -> None:
    shapes, scales = np.array([-0.3, 0.0, 0.3]), np.array([5000.0, 6000.0, 7000.0])
    level = return_level(shapes, scales, clusters)
    expected = [
        genpareto.isf(1 / clusters, shape, scale=scale)
        for shape, scale in zip(shapes, scales, strict=True)
    ]
    assert level == pytest.approx(expected, rel=1e-6)
