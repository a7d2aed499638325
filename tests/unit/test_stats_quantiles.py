"""Quantiles: the right order statistics, only where the sample supports them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vmjitter.stats.histogram import Histogram, binned, empty_histogram, histogram_of
from vmjitter.stats.quantiles import Estimate, covered_share, estimates, limit_ranks

HALF = Fraction(1, 2)


def by_label(histogram: Histogram, confidence_percent: float = 95.0) -> dict[str, Estimate]:
    found = estimates(histogram, confidence_percent=confidence_percent)
    return {one.label: one for one in found}


def counting(total: int) -> Histogram:
    """Latencies 1, 2, ..., total: each is its own rank."""
    return histogram_of(np.arange(1, total + 1))


@pytest.mark.parametrize(
    ("total", "lower", "upper"),
    [
        # Ranks of the limits of a median, two-sided 95 %: Gardner and Altman, "Statistics with
        # confidence", 2nd edition (2000), the table of ranks for medians.
        (6, 1, 6),
        (8, 1, 8),
        (10, 2, 9),
        (15, 4, 12),
        (20, 6, 15),
        (25, 8, 18),
    ],
)
def test_published_ranks_of_the_median(total: int, lower: int, upper: int) -> None:
    assert limit_ranks(total, HALF, wrong=0.025) == (lower, upper)


def test_conovers_data_as_scipy_judges_them() -> None:
    # Conover, "Practical nonparametric statistics", 3rd edition: the hours of 16 transistors.
    hours = [46.9, 47.2, 49.1, 56.5, 56.8, 59.2, 59.9, 63.2]
    hours += [63.3, 63.4, 63.7, 64.1, 67.1, 67.7, 73.3, 78.5]
    for share in (Fraction(1, 4), HALF, Fraction(3, 4)):
        theirs: Any = stats.quantile_test(hours, p=float(share)).confidence_interval(0.9)
        lower, upper = limit_ranks(16, share, wrong=0.05)
        ours = (hours[(lower or 0) - 1], hours[(upper or 0) - 1])
        assert ours == (theirs.low, theirs.high)


def test_sample_sizes_for_tolerance_limits() -> None:
    # Wilks, Annals of Mathematical Statistics 12 (1941): 59 for 95 % of all with 95 % confidence,
    # 93 if the second largest is to be the limit, and 299 for 99 % of all.
    for total, share, beyond in ((59, 95, 0), (93, 95, 1), (299, 99, 0)):
        fraction = Fraction(share, 100)
        assert limit_ranks(total, fraction, wrong=0.05)[1] == total - beyond
        fewer = limit_ranks(total - 1, fraction, wrong=0.05)[1]
        assert fewer == (total - 1 if beyond else None)


@given(
    total=st.integers(1, 400),
    share=st.fractions(Fraction(1, 100), Fraction(999, 1000), max_denominator=1000),
    wrong=st.sampled_from([0.5, 0.1, 0.05, 0.01, 1e-6]),
)
@settings(max_examples=200, deadline=None)
def test_limits_are_the_tightest_that_hold(total: int, share: Fraction, wrong: float) -> None:
    lower, upper = limit_ranks(total, share, wrong=wrong)
    law = stats.binom(total, float(share))
    slack = 1 + 1e-9
    if upper is not None:
        assert law.sf(upper - 1) <= wrong * slack
    assert law.sf((total if upper is None else upper - 1) - 1) > wrong / slack
    if lower is not None:
        assert law.cdf(lower - 1) <= wrong * slack
    assert law.cdf(lower or 0) > wrong / slack
    if lower is not None and upper is not None and wrong < 0.5:
        assert lower <= upper


def test_what_is_listed() -> None:
    found = by_label(counting(240_000))
    assert list(found) == ["p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "p99.9999", "max"]
    assert [label for label, one in found.items() if not one.supported] == ["p99.999", "p99.9999"]
    p99 = found["p99"]
    assert (p99.value_ns, p99.share) == (237_600, Fraction(99, 100))
    assert p99.low_ns is not None
    assert p99.high_ns is not None
    assert p99.low_ns < 237_600 < p99.high_ns
    # Normal approximation of the ranks: 1.645 sqrt(N p q) = 80.2 away.
    assert p99.high_ns - 237_600 == pytest.approx(80.2, abs=2)
    assert 237_600 - p99.low_ns == pytest.approx(80.2, abs=2)


def test_an_unsupported_quantile_has_no_value() -> None:
    one = by_label(counting(299))["p99"]
    assert one == Estimate(label="p99", share=Fraction(99, 100), supported=False)
    assert by_label(counting(300))["p99"].high_ns == 300


def test_more_confidence_needs_more_wake_ups() -> None:
    assert not by_label(counting(450), 99)["p99"].supported
    assert by_label(counting(459), 99)["p99"].high_ns == 459


def test_rarer_quantiles_only_in_long_trials() -> None:
    many = binned([(5, 5, 29_999_999), (9, 9, 1)], min_ns=5, max_ns=9)
    found = by_label(many)
    assert found["p99.99999"].high_ns == 9
    assert "p99.999999" not in found


def test_the_maximum_covers_all_but_three_of_n() -> None:
    one = by_label(counting(240_000))["max"]
    assert (one.value_ns, one.low_ns, one.high_ns) == (240_000, None, None)
    assert float(1 - one.share) == pytest.approx(2.9957 / 240_000, rel=1e-4)
    assert covered_share(59, wrong=0.05) > 0.95 > covered_share(58, wrong=0.05)


def test_bins_widen_the_limits_to_their_edges() -> None:
    one = by_label(binned([(0, 999, 500), (1000, 1999, 500)], min_ns=0, max_ns=1000))["p50"]
    assert (one.value_ns, one.low_ns, one.high_ns, one.at_least) == (0, 0, 1999, False)


def test_what_lies_beyond_the_last_bin_is_only_a_lower_limit() -> None:
    cut = binned([(0, 999, 950)], overflow=50, overflow_from_ns=1000, min_ns=0)
    found = by_label(cut)
    assert found["p90"].at_least is False
    assert (found["p99"].value_ns, found["p99"].at_least) == (1000, True)
    assert (found["p99"].low_ns, found["p99"].high_ns) == (1000, None)
    assert (found["max"].value_ns, found["max"].at_least) == (1000, True)
    known = binned([(0, 999, 950)], overflow=50, overflow_from_ns=1000, min_ns=0, max_ns=7000)
    assert (by_label(known)["max"].value_ns, by_label(known)["max"].at_least) == (7000, False)
    assert by_label(known)["p99"].high_ns == 7000


def test_nothing_and_little() -> None:
    assert [one.supported for one in estimates(empty_histogram(), confidence_percent=95)] == [
        False
    ] * 8
    assert by_label(empty_histogram())["max"].share == 0
    one = by_label(counting(1))["p50"]
    assert (one.value_ns, one.low_ns, one.high_ns) == (1, None, None)


@given(
    values=st.lists(st.integers(-(10**6), 10**9), min_size=1, max_size=400),
    percent=st.sampled_from([80.0, 95.0, 99.0]),
)
@settings(max_examples=60, deadline=None)
def test_a_quantile_lies_between_its_limits(values: list[int], percent: float) -> None:
    found = estimates(histogram_of(np.array(values)), confidence_percent=percent)
    for one in found:
        assert (one.value_ns is not None) == one.supported
        if one.value_ns is None:
            continue
        assert one.value_ns in values
        if one.low_ns is not None:
            assert one.low_ns <= one.value_ns
        if one.high_ns is not None:
            assert one.value_ns <= one.high_ns
    known = [one.value_ns for one in found if one.value_ns is not None]
    assert known == sorted(known)
    assert found[-1].value_ns == max(values)
