"""Planning: the verdict's limits, read the other way round."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vmjitter.model.judge import Target
from vmjitter.stats.digest import Digest, digest_of
from vmjitter.stats.evidence import NS_PER_HOUR
from vmjitter.stats.planning import coverage, fails_from, shown, time_needed, wake_ups_needed
from vmjitter.stats.quantiles import estimates
from vmjitter.stats.verdict import Outcome, judge

MS = 1_000_000
HOUR = NS_PER_HOUR


def trial(count: int, misses: int, period_ns: int) -> Digest:
    """So many misses, each an episode of its own."""
    latency_ns = np.full(count, 1000)
    latency_ns[np.arange(misses) * 1000] = 2 * MS
    return digest_of([latency_ns], period_ns=period_ns, activations=count, deadline_ns=MS)


@pytest.mark.parametrize(
    ("percent", "misses", "hours"),
    [
        # chi2.ppf(c, 2k + 2) / 2, in hours for one miss per hour: IEC 61508-7, table D.2, for
        # none (3 and 4.6); the others from Garwood's table.
        (95.0, 0, 2.9957),
        (99.0, 0, 4.6052),
        (95.0, 1, 4.7439),
        (95.0, 3, 7.7537),
        (97.5, 10, 18.390),
    ],
)
def test_time_for_one_miss_per_hour(percent: float, misses: int, hours: float) -> None:
    found = time_needed(1.0, misses, confidence_percent=percent)
    assert found.duration_ns / HOUR == pytest.approx(hours, rel=1e-4)
    assert found.activations is None
    tenth = time_needed(0.1, misses, confidence_percent=percent)
    assert tenth.duration_ns == pytest.approx(10 * found.duration_ns, rel=1e-9)


def test_how_good_a_machine_must_be_to_pass() -> None:
    for misses in (0, 2, 5):
        found = time_needed(1.0, misses, confidence_percent=95)
        mean = found.passes_at_per_hour * found.duration_ns / HOUR
        assert stats.poisson.cdf(misses, mean) == pytest.approx(0.9)


@pytest.mark.parametrize("misses", [0, 1, 4])
def test_the_verdict_keeps_what_the_plan_promises(misses: int) -> None:
    period_ns = 100 * MS
    target = Target(deadline_ns=MS, max_misses_per_hour=2.0)
    planned = time_needed(2.0, misses, confidence_percent=95, period_ns=period_ns)
    assert planned.activations is not None
    assert planned.duration_ns == planned.activations * period_ns
    outcomes = [
        judge(trial(count, misses, period_ns), target, lacks=frozenset(), invalid=()).outcome
        for count in (planned.activations, planned.activations - 1)
    ]
    assert outcomes == [Outcome.PASS, Outcome.INCONCLUSIVE]


def test_what_eight_hours_show() -> None:
    found = [shown(8 * HOUR, misses, confidence_percent=95, period_ns=MS) for misses in (0, 1, 2)]
    assert [round(8 * one.misses_per_hour_upper, 3) for one in found] == [2.996, 4.744, 6.296]
    assert [round(8 * one.misses_per_hour_lower, 4) for one in found] == [0, 0.0513, 0.3554]
    assert found[0].share_upper == pytest.approx(2.9957 / 28_800_000, rel=1e-4)
    assert shown(8 * HOUR, 0, confidence_percent=95).share_upper is None


@given(hours=st.floats(0.001, 100), rate=st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_from_how_many_misses_on_it_fails(hours: float, rate: float) -> None:
    duration_ns = round(hours * HOUR)
    count = fails_from(duration_ns, rate, confidence_percent=95)
    assert count >= 1
    assert shown(duration_ns, count, confidence_percent=95).misses_per_hour_lower > rate
    fewer = shown(duration_ns, count - 1, confidence_percent=95)
    assert fewer.misses_per_hour_lower <= rate


def test_sample_sizes_of_wilks() -> None:
    # One-sided 95 % limits for 95 % of all, first to fifth order: 59, 93, 124, 153, 181 in the
    # practice of nuclear safety analysis (after Wilks 1941); the first is 60 here, see the rule.
    sizes = [
        wake_ups_needed(Fraction(95, 100), beyond, confidence_percent=95).wake_ups
        for beyond in range(5)
    ]
    assert sizes == [60, 93, 124, 153, 181]


@pytest.mark.parametrize(("share", "label"), [(Fraction(99, 100), "p99"), (Fraction(9, 10), "p90")])
@pytest.mark.parametrize("percent", [95.0, 99.0])
def test_the_report_has_the_quantile_that_was_planned(
    share: Fraction, label: str, percent: float
) -> None:
    needed = wake_ups_needed(share, confidence_percent=percent, period_ns=MS)
    assert needed.label == label
    assert needed.duration_ns == needed.wake_ups * MS
    for count, there in ((needed.wake_ups, True), (needed.wake_ups - 1, False)):
        histogram = trial(count, 0, MS).histogram
        by_label = {one.label: one for one in estimates(histogram, confidence_percent=percent)}
        assert by_label[label].supported is there
        assert (label in coverage(count, confidence_percent=percent).quantiles) is there


def test_a_p99999_needs_300_000_wake_ups() -> None:
    needed = wake_ups_needed(Fraction(99_999, 100_000), confidence_percent=95, period_ns=MS)
    assert (needed.label, needed.wake_ups, needed.duration_ns) == ("p99.999", 300_000, 300 * 10**9)
    assert coverage(240_000, confidence_percent=95).quantiles[-1] == "p99.99"


@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(1), Fraction(-1)])
def test_a_share_without_a_limit_is_refused(share: Fraction) -> None:
    with pytest.raises(ValueError, match="has no limit"):
        wake_ups_needed(share, confidence_percent=95)
