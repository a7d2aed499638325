"""Exact limits against published tables and worked examples, and what holds for all of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vmjitter.stats.bounds import mean_limits, risk, rule_of_three, share_limits

PERCENT = st.sampled_from([50.0, 80.0, 90.0, 95.0, 97.5, 99.0, 99.9, 99.9999])


@pytest.mark.parametrize(
    ("count", "lower", "upper"),
    [
        # Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936), the table
        # that is reprinted as table 40 of Pearson and Hartley, "Biometrika tables for
        # statisticians": two-sided 95 %, so one-sided 97.5 % each.
        (0, 0.0, 3.69),
        (1, 0.0253, 5.57),
        (2, 0.242, 7.22),
        (3, 0.619, 8.77),
        (5, 1.62, 11.67),
        (10, 4.80, 18.39),
        (20, 12.22, 30.89),
        (50, 37.11, 65.92),
    ],
)
def test_garwood_table(count: int, lower: float, upper: float) -> None:
    limits = mean_limits(count, confidence_percent=97.5)
    assert limits.lower == pytest.approx(lower, abs=0.006)
    assert limits.upper == pytest.approx(upper, abs=0.006)


@pytest.mark.parametrize(
    ("count", "of", "lower", "upper"),
    [
        # Two-sided 95 % intervals of R's binom.test, the example in its manual page: Mendel's
        # 682 of 925 plants (Conover, "Practical nonparametric statistics", 1971, p. 97).
        (682, 925, 0.7076683, 0.7654066),
    ],
)
def test_published_clopper_pearson_intervals(
    count: int, of: int, lower: float, upper: float
) -> None:
    limits = share_limits(count, of, confidence_percent=97.5)
    assert limits.lower == pytest.approx(lower, abs=5.1e-8)
    assert limits.upper == pytest.approx(upper, abs=5.1e-8)


def test_a_worked_example_in_three_digits() -> None:
    # 5 of 25 seedlings, from Conover's tables (3rd edition, 1999), as on influentialpoints.com,
    # "Confidence intervals of proportions".
    limits = share_limits(5, 25, confidence_percent=97.5)
    assert (round(limits.lower, 3), round(limits.upper, 3)) == (0.068, 0.407)


def test_a_one_sided_limit_of_few_among_many() -> None:
    # The example in the manual of R's GenBinomApps, clopper.pearson.ci(5, 100000, alpha=0.05).
    limits = share_limits(5, 100_000, confidence_percent=95)
    assert limits.upper == pytest.approx(0.0001051275, abs=5.1e-11)
    assert limits.lower == pytest.approx(1.97017e-05, abs=5.1e-11)


def test_rule_of_three() -> None:
    # Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983):
    # 3/n at 95 %.  IEC 61508-7, table D.2: 3 and 4.6 at 95 and 99 %.
    assert rule_of_three(95.0) == pytest.approx(2.9957, abs=1e-4)
    assert rule_of_three(99.0) == pytest.approx(4.6052, abs=1e-4)
    assert 240_000 * share_limits(0, 240_000, confidence_percent=95).upper == pytest.approx(
        2.9957, abs=1e-4
    )


@pytest.mark.parametrize(
    ("activations", "none", "one", "three"),
    [
        (240_000, 1.25e-5, 1.98e-5, 3.23e-5),
        (2_400_000, 1.25e-6, 1.98e-6, 3.23e-6),
        (10**8, 3.0e-8, 4.74e-8, 7.75e-8),
        (10**10, 3.0e-10, 4.74e-10, 7.75e-10),
    ],
)
def test_share_of_few_misses_in_many_activations(
    activations: int, none: float, one: float, three: float
) -> None:
    for count, upper in ((0, none), (1, one), (3, three)):
        found = share_limits(count, activations, confidence_percent=95).upper
        assert found == pytest.approx(upper, rel=0.005)


def test_a_large_count_among_very_many_is_right_where_an_inverse_of_scipy_is_not() -> None:
    lower = share_limits(1000, 10**11, confidence_percent=95).lower
    assert lower == pytest.approx(stats.gamma.ppf(0.05, 1000) / 1e11, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: risk(0), "not between"),
        (lambda: risk(100), "not between"),
        (lambda: share_limits(2, 1, confidence_percent=95), "2 misses in 1 activations"),
        (lambda: share_limits(-1, 1, confidence_percent=95), "-1 misses"),
        (lambda: mean_limits(-1, confidence_percent=95), "-1 events"),
    ],
)
def test_nonsense_is_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()


@given(count=st.integers(0, 300), more=st.integers(0, 10**6), percent=PERCENT)
@settings(max_examples=150, deadline=None)
def test_a_limit_is_where_the_tail_is_as_likely_as_the_risk(
    count: int, more: int, percent: float
) -> None:
    of = count + more
    wrong = risk(percent)
    share = share_limits(count, of, confidence_percent=percent)
    assert 0 <= share.lower <= share.upper <= 1
    if count > 0:
        assert stats.binom.sf(count - 1, of, share.lower) == pytest.approx(wrong, rel=1e-6)
    if count < of:
        assert stats.binom.cdf(count, of, share.upper) == pytest.approx(wrong, rel=1e-6)
    mean = mean_limits(count, confidence_percent=percent)
    assert stats.poisson.cdf(count, mean.upper) == pytest.approx(wrong, rel=1e-6)
    if count:
        assert stats.poisson.sf(count - 1, mean.lower) == pytest.approx(wrong, rel=1e-6)


@given(count=st.integers(0, 200), more=st.integers(1, 10**6), percent=PERCENT)
@settings(max_examples=100, deadline=None)
def test_limits_move_with_what_was_seen(count: int, more: int, percent: float) -> None:
    of = count + more
    here = share_limits(count, of, confidence_percent=percent)
    worse = share_limits(count + 1, of, confidence_percent=percent)
    longer = share_limits(count, of + 1, confidence_percent=percent)
    assert worse.lower > here.lower
    assert worse.upper > here.upper or here.upper == 1
    assert longer.upper < here.upper
    assert longer.lower <= here.lower
    mean = mean_limits(count, confidence_percent=percent)
    assert mean_limits(count + 1, confidence_percent=percent).upper > mean.upper
    assert math.isfinite(mean.upper)
