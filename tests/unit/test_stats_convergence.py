"""Convergence: silent where the truth is unchanging, and finding what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.stats.convergence import Convergence, convergence
from vmjitter.stats.digest import digest_of, unordered
from vmjitter.stats.histogram import MISSED, histogram_of

MS = 1_000_000


def look(values: object, deadline_ns: int | None = None) -> Convergence:
    latency_ns = np.asarray(values).astype(np.int64)
    found = convergence(
        digest_of([latency_ns], period_ns=MS, activations=len(latency_ns), deadline_ns=deadline_ns)
    )
    assert found is not None
    return found


def usual(seed: int, size: int = 20_000) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return 20_000 + np.random.default_rng(seed).gamma(2, 1500, size)


def test_the_expected_number_of_records() -> None:
    # Glick, American Mathematical Monthly 85 (1978): the harmonic numbers, 5.19 for 100
    # observations, 7.49 for 1000.
    for count, expected in ((100, 5.19), (1000, 7.49)):
        assert look(usual(1, count)).records_expected == pytest.approx(expected, abs=0.005)
    assert look(usual(1, 240_000)).records_expected == pytest.approx(12.97, abs=0.005)


def test_the_law_of_records_is_that_of_permutations() -> None:
    # Of the 24 orders of four values 6, 11, 6, 1 have 1, 2, 3, 4 records (Stirling numbers).
    assert [look(values).records_p for values in ([4, 3, 2, 1], [1, 2, 3, 4])] == [
        pytest.approx(1.0),
        pytest.approx(1 / 24),
    ]
    assert look([1, 3, 2, 4]).records_p == pytest.approx(7 / 24)


def test_many_unchanging_trials_are_found_suspicious_as_seldom_as_stated() -> None:
    found = [look(usual(seed, 4000)) for seed in range(150)]
    # Two tests at 1 %, and that of the last tenth, which needs two records, at 0.5 %: 3.75 of 150.
    assert sum(not one.settled for one in found) <= 9
    assert np.mean([one.records for one in found]) == pytest.approx(8.87, abs=0.6)
    assert np.mean([one.last_record_share for one in found]) == pytest.approx(0.5, abs=0.07)


def test_a_warm_up_is_found_and_shown_with_and_without() -> None:
    values = usual(3)
    values[17] = 900_000
    found = look(values, deadline_ns=500_000)
    assert not found.settled
    assert "the maximum of 900.00 µs occurred within the first 0.09 %" in found.findings[0]
    assert found.warm_up.max_without_ns == int(values[200:].max())
    assert (found.warm_up.activations, found.warm_up.max_ns) == (200, 900_000)
    assert (found.warm_up.misses, found.warm_up.misses_without) == (1, 0)


def test_a_drift_has_too_many_records() -> None:
    found = look(usual(4) + np.linspace(0, 100_000, 20_000))
    assert found.records_p < 1e-6
    assert found.late_records >= 2
    assert len(found.findings) == 2
    assert all("not settled" in finding for finding in found.findings)


def test_equal_latencies_are_not_suspicious() -> None:
    found = look(np.full(5000, 7000))
    assert (found.records, found.settled, found.last_record) == (1, True, 0)


def test_the_running_maximum() -> None:
    found = look([5, 1, 9, 2, 3, 8, 7, 30, 4, 6, 2, 40])
    assert [(step.activations, step.max_ns) for step in found.running] == [
        (1, 5),
        (2, 5),
        (5, 9),
        (10, 30),
        (12, 40),
    ]
    assert (found.max_ns, found.last_record, found.last_record_share) == (40, 11, 11 / 12)


def test_missed_activations_are_no_wake_ups() -> None:
    found = look([MISSED, MISSED, 5, 4, MISSED])
    assert [(step.activations, step.max_ns) for step in found.running] == [(5, 5)]
    assert found.records == 1
    assert found.records_expected == pytest.approx(1.5)


def test_without_an_order_or_a_wake_up_there_is_nothing_to_see() -> None:
    assert convergence(unordered(histogram_of(np.array([1, 2])))) is None
    none = digest_of([np.full(3, MISSED)], period_ns=MS, activations=3)
    assert convergence(none) is None


def test_a_maximum_without_warm_up_in_a_trial_whose_latest_are_all_at_its_start() -> None:
    values = np.full(4_000_000, 1000)
    values[:40_000] = 5000
    values[3_999_999] = 1001
    found = look(values)
    assert found.warm_up.max_without_ns == 1001


@given(values=st.lists(st.integers(-100, 100) | st.just(MISSED), min_size=1, max_size=300))
@settings(max_examples=100, deadline=None)
def test_what_holds_for_every_trial(values: list[int]) -> None:
    woken = [value for value in values if value != MISSED]
    if not woken:
        return
    found = look(values)
    assert found.max_ns == max(woken) == found.running[-1].max_ns
    assert found.last_record == values.index(max(woken))
    cut = found.warm_up.activations
    later = [value for value in values[cut:] if value != MISSED]
    assert found.warm_up.max_without_ns == max(later, default=None)
    for probability in (found.records_p, found.late_records_p, found.early_p):
        assert 0 <= probability <= 1
    assert found.settled == (not found.findings)
