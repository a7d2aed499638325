"""Two survival functions: their points, their bands, and which one is lower where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vmjitter.stats.histogram import Histogram, binned, histogram_of, merge
from vmjitter.stats.permutation import blocked, pooled
from vmjitter.stats.survival import Curves, between_trials, clopper_pearson, curves


def of(*latency_ns: int) -> Histogram:
    return histogram_of(np.array(latency_ns, np.int64))


def compared(before: list[Histogram], after: list[Histogram]) -> Curves:
    found = curves(before, after, pooled(len(before), len(after)), significance=0.05)
    assert found is not None
    return found


LATENCIES = st.lists(st.integers(-5, 400), min_size=1, max_size=40)


@given(before=st.lists(LATENCIES, min_size=1, max_size=3), after=LATENCIES)
@settings(max_examples=60)
def test_shares_are_those_of_the_samples(before: list[list[int]], after: list[int]) -> None:
    found = compared([of(*trial) for trial in before], [of(*after)])
    everything = sorted(value for trial in before for value in trial)
    for place, at_ns in enumerate(found.latency_ns):
        wanted = sum(value >= at_ns for value in everything) / len(everything)
        assert found.before.share[place] == pytest.approx(wanted)
        for trial, shares in zip(before, found.before.trials, strict=True):
            assert shares[place] == pytest.approx(sum(v >= at_ns for v in trial) / len(trial))
    for curve in (found.before, found.after):
        assert (curve.low <= curve.share + 1e-12).all()
        assert (curve.share <= curve.high + 1e-12).all()
        assert (np.diff(curve.share) <= 0).all()


def test_a_long_curve_keeps_its_end() -> None:
    random = np.random.default_rng(1)
    before = [histogram_of(random.lognormal(9, 1, 50_000).astype(np.int64)) for _ in range(2)]
    after = [histogram_of(random.lognormal(8, 1, 50_000).astype(np.int64))]
    found = compared(before, after)
    assert len(found.latency_ns) < 700
    latest = np.sort(merge([*before, *after]).low_ns)[-60:]
    assert set(latest) <= set(found.latency_ns.tolist())
    # no two neighbouring points of the upper half skip more than a few per cent of the wake-ups
    upper = found.before.share[found.before.share > 1e-3]
    assert np.max(upper[:-1] - upper[1:]) < 0.03


def test_no_curve_without_wake_ups() -> None:
    assert curves([of(1)], [of()], pooled(1, 1), significance=0.05) is None
    assert curves([], [of(1)], (), significance=0.05) is None


def test_beyond_the_last_bin_nothing_is_said() -> None:
    cut = binned([(0, 999, 5), (1000, 1999, 3)], overflow=2, overflow_from_ns=2000, max_ns=9000)
    found = compared([cut], [of(500, 1500, 2500, 8000)])
    assert found.latency_ns.max() <= 2000
    assert found.resolution_ns == 1000
    assert found.dominance is None or found.dominance.until_ns == 2000


@pytest.mark.parametrize(
    ("count", "total", "limits"),
    [
        # the two-sided 95 % limits of the usual tables for binomial proportions
        (0, 10, (0.0, 0.3085)),
        (1, 10, (0.0025, 0.4450)),
        (5, 10, (0.1871, 0.8129)),
        (10, 10, (0.6915, 1.0)),
    ],
)
def test_clopper_and_pearson(count: int, total: int, limits: tuple[float, float]) -> None:
    low, high = clopper_pearson(np.array([count]), total, 0.05)
    assert (low[0], high[0]) == pytest.approx(limits, abs=5e-5)


# -- which one is lower where --------------------------------------------------------------------


def test_a_lower_curve_everywhere() -> None:
    before = [of(*range(100 + k, 200 + k)) for k in range(4)]
    after = [of(*range(10 + k, 110 + k)) for k in range(4)]
    found = compared(before, after).dominance
    assert found is not None
    assert found.after
    assert found.above_ns is None
    assert found.every_trial_above_ns is not None
    assert found.every_trial_above_ns < 110


def test_curves_that_cross() -> None:
    """After has a better middle and a worse end, in every trial."""
    before = [of(*range(1000, 1100), *range(2000, 2010)) for _ in range(4)]
    after = [of(*range(500 + k, 600 + k), *range(3000, 3010)) for k in range(4)]
    found = compared(before, after)
    (crossing,) = found.crossings
    assert not crossing.after_lower
    assert 1000 <= crossing.from_ns < crossing.to_ns <= 3000
    assert found.dominance is not None
    assert not found.dominance.after
    assert found.dominance.above_ns == 1099
    assert found.dominance.share_before == found.dominance.share_after == pytest.approx(1 / 11)


def test_one_trial_against_another_says_nothing_of_trials() -> None:
    found = compared([of(1, 2, 3)], [of(2, 3, 4)])
    assert found.crossings == ()
    assert found.dominance is not None
    assert found.dominance.every_trial_above_ns is None
    assert not found.before.by_trials


def test_the_order_goes_by_blocks_where_there_are_some() -> None:
    numbers = [0, 0, 1, 1, 2, 2]
    before = [
        of(*range(level, level + 50), level + 900) for level in (0, 5, 1000, 1005, 2000, 2005)
    ]
    after = [of(*range(level, level + 50), level + 940) for level in (9, 8, 1009, 1008, 2009, 2008)]
    within = curves(before, after, blocked(numbers, numbers), significance=0.05)
    assert within is not None
    assert within.dominance is not None
    assert not within.dominance.after


# -- by simulation -------------------------------------------------------------------------------


@pytest.mark.parametrize("trials", [4, 6])
@pytest.mark.parametrize(("share", "spread"), [(0.3, 0.3), (1e-2, 0.7), (1e-3, 0.0), (2e-4, 0.5)])
def test_bands_hold_for_the_typical_trial(trials: int, share: float, spread: float) -> None:
    """Trials differ; of bands said to hold in 95 % of the cases at least that many do."""
    random = np.random.default_rng(2)
    holds, cases, wake_ups = 0, 1500, 10_000
    odds = share / (1 - share) * random.lognormal(0, spread, (cases, trials))
    counts = random.binomial(wake_ups, odds / (1 + odds))
    for row in counts:
        pool = np.array([row.sum()])
        low, high = clopper_pearson(pool, trials * wake_ups, 0.05)
        by_trials = between_trials(row[:, None], np.full(trials, wake_ups), 0.05)
        holds += min(low[0], by_trials[0][0]) <= share <= max(high[0], by_trials[1][0])
    assert holds >= stats.binom.ppf(0.001, cases, 0.95), holds / cases


def test_bands_of_independent_wake_ups_alone_would_not_hold() -> None:
    """The reason for the other half of the band."""
    random = np.random.default_rng(3)
    odds = 0.01 / 0.99 * random.lognormal(0, 0.7, (500, 4))
    counts = random.binomial(10_000, odds / (1 + odds))
    low, high = clopper_pearson(counts.sum(axis=1), 40_000, 0.05)
    assert np.mean((low <= 0.01) & (high >= 0.01)) < 0.3
