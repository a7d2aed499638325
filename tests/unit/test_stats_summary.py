"""The summary of a trial, against the plainest possible computation."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.guest import layout
from vmjitter.stats.histogram import MISSED, histogram_of
from vmjitter.stats.summary import (
    P50,
    P99,
    P999,
    Summary,
    quantile,
    summarize,
    supported,
    upper_share,
)

INT64 = st.integers(-(1 << 63) + 1, (1 << 63) - 1)
LATENCIES = st.lists(st.one_of(INT64, st.integers(-50, 50), st.just(MISSED)), max_size=700)


def test_missed_is_that_of_the_layout() -> None:
    assert MISSED == layout.MISSED


def naive_quantile(values: list[int], share: Fraction) -> int | None:
    if not values or (share > P50 and len(values) < 3 / (1 - share)):
        return None
    return sorted(values)[ceil(share * len(values)) - 1]


@given(values=LATENCIES, deadline_ns=st.one_of(st.none(), INT64))
def test_agrees_with_the_naive_way(values: list[int], deadline_ns: int | None) -> None:
    awake = [value for value in values if value != MISSED]
    missed = len(values) - len(awake)
    late = sum(value > deadline_ns for value in awake) if deadline_ns is not None else 0
    found = summarize(np.array(values, np.int64), deadline_ns=deadline_ns)
    assert found == Summary(
        count=len(awake),
        overruns=missed,
        min_ns=min(awake, default=None),
        p50_ns=naive_quantile(awake, P50),
        p99_ns=naive_quantile(awake, P99),
        p999_ns=naive_quantile(awake, P999),
        max_ns=max(awake, default=None),
        negative=sum(value < 0 for value in awake),
        misses=None if deadline_ns is None else late + missed,
    )
    assert found.activations == len(values)


@given(values=st.lists(INT64, min_size=1, max_size=50), share=st.fractions(0, 1))
def test_a_quantile_is_one_of_the_latencies(values: list[int], share: Fraction) -> None:
    found = quantile(histogram_of(np.array(values, np.int64)), share)
    if found is not None and share > 0:
        below = sum(value <= found for value in values)
        assert found in values
        assert below >= share * len(values)


@given(values=st.lists(INT64, max_size=50), seed=st.integers(0, 99))
def test_order_does_not_matter(values: list[int], seed: int) -> None:
    latency = np.array(values, np.int64)
    mixed = np.random.default_rng(seed).permutation(latency)
    assert summarize(latency) == summarize(mixed)


def test_the_input_is_left_as_it_was() -> None:
    latency = np.array([3, 1, 2], np.int64)
    summarize(latency)
    assert latency.tolist() == [3, 1, 2]


@pytest.mark.parametrize(("share", "least"), [(P50, 1), (P99, 300), (P999, 3000)])
def test_a_quantile_needs_support(share: Fraction, least: int) -> None:
    assert not supported(share, least - 1)
    assert supported(share, least)


def test_the_deadline_itself_is_met() -> None:
    latency = np.array([10, 11, MISSED], np.int64)
    assert summarize(latency, deadline_ns=10).misses == 2
    assert summarize(latency).misses is None


def test_rule_of_three() -> None:
    assert upper_share(240_000) == pytest.approx(1.25e-5)
    assert upper_share(0) == upper_share(2) == 1.0
