"""The projection as a whole: right where the truth is known, refused where it would mislead."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import expon, gamma, genpareto, lognorm

from vmjitter.errors import UsageError
from vmjitter.stats.digest import PEAKS, Digest, digest_of, unordered
from vmjitter.stats.histogram import MISSED, binned, histogram_of
from vmjitter.stats.tail import HORIZONS_NS, Fit, Projection, Threshold, project
from vmjitter.stats.tail.gates import estimators_gate

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]

PERIOD_NS = 1_000_000


def digest(latency_ns: Floats | Int64s) -> Digest:
    values = latency_ns.astype(np.int64)
    return digest_of([values], period_ns=PERIOD_NS, activations=len(values))


def usual(seed: int, size: int = 40_000) -> Floats:
    """Latencies of one mechanism, without anything strange."""
    return 20_000 + np.random.default_rng(seed).gamma(2, 1500, size)


def failed(found: Projection) -> set[str]:
    return {gate.name for gate in found.gates if not gate.passed}


def test_one_mechanism_is_projected() -> None:
    found = project(digest(usual(5, 100_000)))
    assert found.refused == ""
    assert failed(found) == set()
    assert len(found.gates) == 14
    assert found.fit is not None
    assert found.holdout is not None
    assert found.holdout.hit
    assert found.holdout.fitted_percent == 10
    truth = 20_000 + gamma.isf(1e-3 / 3600, 2, scale=1500)
    hour, day, year = found.levels
    assert (hour.horizon_ns, day.horizon_ns, year.horizon_ns) == HORIZONS_NS
    assert hour.value_ns == pytest.approx(truth, rel=0.1)
    assert hour.upper_ns is not None
    assert truth < hour.upper_ns < 1.4 * truth
    assert "more than 100 times the measured time of 1:40" in day.refused
    assert (day.value_ns, day.upper_ns, year.value_ns) == (None, None, None)


def test_the_same_trial_gives_the_same_projection() -> None:
    trial = digest(usual(11))
    assert project(trial) == project(trial)


def test_all_thresholds_are_there_for_the_plot() -> None:
    found = project(digest(usual(11)))
    assert found.fit is not None
    chosen = [one for one in found.thresholds if one.chosen]
    assert chosen == [found.fit.chosen]
    assert all(50 <= one.clusters <= 500 for one in found.thresholds)
    assert all(one.exceedances >= one.clusters for one in found.thresholds)
    edges = [one.threshold_ns for one in found.thresholds]
    assert edges == sorted(set(edges))
    assert found.fit.shape_low < found.fit.chosen.shape < found.fit.shape_high
    one = chosen[0]
    assert one.modified_scale_ns == one.scale_ns - one.shape * one.threshold_ns
    assert found.fit.clusters_per_activation == one.clusters / 40_000


@dataclass(frozen=True)
class Repeated:
    """What became of many trials of a law."""

    accepted: float
    covered: float
    shape_covered: float
    hits: float
    ratio: float


def repeated(law: str, times: int) -> Repeated:
    """Project 15 times the length of trials whose law is known."""
    size, rng = 10_000, np.random.default_rng(77)
    laws = {
        "exponential": (expon(scale=5000), 0.0),
        "heavy": (genpareto(0.2, scale=5000), 0.2),
        "bounded": (genpareto(-0.3, scale=9000), -0.3),
        "gamma": (gamma(3, scale=5000), 0.0),
        "lognormal": (lognorm(0.6, scale=20_000), 0.0),
    }
    frozen, shape = laws[law]
    truth = float(frozen.isf(1 / (15 * size)))
    accepted, covered, shapes, hits, ratios = 0, 0, 0, 0, []
    for _ in range(times):
        found = project(digest(frozen.ppf(rng.random(size))), horizons_ns=(15 * size * PERIOD_NS,))
        hits += found.holdout is None or found.holdout.hit
        if found.refused:
            continue
        level = found.levels[0]
        assert found.fit is not None
        assert level.value_ns is not None
        assert level.upper_ns is not None
        accepted += 1
        covered += level.upper_ns >= truth
        shapes += found.fit.shape_high >= shape
        ratios.append(level.value_ns / truth)
    return Repeated(
        accepted=accepted / times,
        covered=covered / accepted,
        shape_covered=shapes / accepted,
        hits=hits / times,
        ratio=float(np.median(ratios)),
    )


@pytest.mark.parametrize("law", ["exponential", "heavy", "bounded"])
def test_limits_hold_as_often_as_they_say(law: str) -> None:
    """95 % each; with 60 trials, 88 % is two and a half standard errors less."""
    found = repeated(law, 60)
    assert found.accepted > 0.75
    assert found.covered > 0.88
    assert found.shape_covered > 0.88
    assert found.hits > 0.87
    assert found.ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("law", ["gamma", "lognormal"])
def test_limits_hold_nearly_as_often_for_laws_that_are_pareto_in_the_limit(law: str) -> None:
    found = repeated(law, 30)
    assert found.accepted > 0.7
    assert found.covered > 0.8
    assert found.hits > 0.85
    assert found.ratio == pytest.approx(1, abs=0.12)


def test_bursts_are_fitted_once() -> None:
    """Each late wake-up stays for three: extremal index 1/3, the level is that of one."""
    size, truth = 60_000, 2000 * np.log(20 * 60_000)
    found = []
    for seed in range(12):
        single = np.random.default_rng(seed).exponential(2000, size + 2)
        series = np.maximum(np.maximum(single[:-2], single[1:-1]), single[2:])
        found.append(project(digest(series), horizons_ns=(20 * size * PERIOD_NS,)))
    accepted = [one for one in found if not one.refused]
    assert len(accepted) >= 10
    for one in accepted:
        assert one.fit is not None
        chosen = one.fit.chosen
        assert chosen.theta == pytest.approx(1 / 3, abs=0.05)
        assert chosen.exceedances == pytest.approx(3 * chosen.clusters, rel=0.2)
    levels = [one.levels[0] for one in accepted]
    assert np.median([one.value_ns or 0 for one in levels]) == pytest.approx(truth, rel=0.1)
    assert np.mean([(one.upper_ns or 0) >= truth for one in levels]) > 0.8


@pytest.mark.parametrize("seed", range(6))
def test_a_rare_mechanism_that_hides_is_not_projected(seed: int) -> None:
    series = usual(seed, 100_000)
    rng = np.random.default_rng(100 + seed)
    rare = rng.random(len(series)) < 1e-4
    series[rare] += rng.uniform(50_000, 100_000, rare.sum())
    found = project(digest(series))
    assert failed(found) & {"fit", "shape", "hold-out", "estimators agree"}
    assert found.refused


@pytest.mark.parametrize("seed", range(3))
def test_a_step_is_not_projected(seed: int) -> None:
    series = usual(seed)
    series[25_000:] *= 1.1
    found = project(digest(series))
    assert {"halves alike", "no change"} <= failed(found)
    assert re.search(r"most likely at 0:2[456]", found.refused)


@pytest.mark.parametrize("seed", range(3))
def test_a_drift_is_not_projected(seed: int) -> None:
    series = usual(seed) * np.linspace(1, 1.15, 40_000)
    assert {"halves alike", "no change"} <= failed(project(digest(series)))


def test_a_change_of_the_rate_alone_is_not_projected() -> None:
    """Fewer spikes, of the same law, in the second and third quarter: both halves are alike."""
    rng = np.random.default_rng(4)
    series = rng.gamma(2, 100, 40_000)
    rate = np.full(40_000, 0.05)
    rate[10_000:30_000] = 0.02
    spikes = rng.random(40_000) < rate
    series[spikes] += 5000 + rng.exponential(1000, spikes.sum())
    found = failed(project(digest(series)))
    assert "rate constant" in found
    assert "halves alike" not in found


def test_slow_waves_are_not_projected() -> None:
    wave = 1 + 0.3 * np.sin(np.arange(100_000) * (2 * np.pi / 5000))
    found = project(digest(np.random.default_rng(4).exponential(5000, 100_000) * wave))
    assert "independent" in failed(found) or "bursts short" in failed(found)


def test_long_bursts_are_not_projected() -> None:
    rng = np.random.default_rng(12)
    series = rng.exponential(100, 100_000)
    for start in np.sort(rng.choice(999, 150, replace=False)) * 100:
        series[start : start + 40] += 5000 + rng.exponential(1000)
    found = project(digest(series))
    assert "bursts short" in failed(found)


def test_a_heavy_tail_is_not_projected() -> None:
    series = genpareto.rvs(0.7, scale=5000, size=20_000, random_state=3)
    found = project(digest(series))
    assert "shape" in failed(found)
    assert found.fit is not None
    assert all(level.refused == "a gate failed" for level in found.levels)
    assert all(level.value_ns is None for level in found.levels)


def test_a_miss_of_the_hold_out_is_a_failed_gate() -> None:
    series = usual(11)
    series[30_000] = 90_000
    found = project(digest(series))
    assert found.holdout is not None
    assert found.holdout.observed_ns == 90_000
    assert not found.holdout.hit
    assert "hold-out" in failed(found)
    assert "which is 90.00 µs: missed" in found.refused


def test_estimators_that_disagree_are_refused() -> None:
    chosen = Threshold(
        threshold_ns=0,
        exceedances=200,
        clusters=200,
        distinct=200,
        theta=1.0,
        run_length=0,
        shape=0.0,
        shape_error=0.07,
        scale_ns=1000.0,
        mean_excess_ns=1000.0,
        distance=0.3,
        p_value=0.5,
    )
    fit = Fit(
        chosen=chosen,
        shape_low=-0.1,
        shape_high=0.1,
        shape_by_moments=0.10,
        scale_by_moments_ns=1000.0,
        clusters_per_activation=0.01,
        resolution_ns=1,
    )
    # At a shape of 0 the variances are 4/3 and 1, by the number: 0.0408 for 200.
    assert estimators_gate(fit).passed
    assert "2.4 standard errors apart" in estimators_gate(fit).detail
    assert not estimators_gate(replace(fit, shape_by_moments=-0.11)).passed


def test_whole_microseconds_give_the_same_fit() -> None:
    series = 20_000 + np.random.default_rng(3).exponential(5000, 40_000)
    fine = project(digest(series))
    coarse = project(digest(series // 1000 * 1000))
    assert (fine.refused, coarse.refused) == ("", "")
    assert fine.fit is not None
    assert coarse.fit is not None
    assert (fine.fit.resolution_ns, coarse.fit.resolution_ns) == (1, 1000)
    assert coarse.fit.chosen.distinct < 50
    assert coarse.fit.chosen.shape == pytest.approx(fine.fit.chosen.shape, abs=0.06)
    assert coarse.levels[0].value_ns == pytest.approx(fine.levels[0].value_ns, rel=0.05)
    assert coarse.levels[0].upper_ns == pytest.approx(fine.levels[0].upper_ns, rel=0.1)


def test_too_coarse_latencies_are_refused() -> None:
    series = 20_000 + np.random.default_rng(9).exponential(5000, 40_000)
    found = project(digest(series // 20_000 * 20_000))
    assert failed(found)
    assert found.fit is None


@pytest.mark.parametrize(
    ("values", "gate", "reason"),
    [
        (np.empty(0), "activations", "0 activations"),
        (usual(1, 9_999), "activations", "9999 activations"),
        (np.full(20_000, 5), "bursts", "0 thresholds leave 50 to 500 bursts"),
        (np.full(20_000, MISSED), "activations", "20000 activations, 0 of them woke up"),
        (np.arange(20_000) % 2, "bursts", "0 thresholds leave 50 to 500 bursts"),
        (np.full(20_000, 1 << 61), "latencies complete", "0 overruns after 0 wake-ups"),
    ],
)
def test_what_says_nothing_is_refused_with_the_reason(
    values: Int64s, gate: str, reason: str
) -> None:
    found = project(digest(values))
    assert gate in failed(found)
    assert reason in found.refused
    assert found.fit is None
    assert found.holdout is None
    assert [level.refused for level in found.levels] == ["a gate failed"] * 3


def test_an_unordered_result_is_refused() -> None:
    histogram = histogram_of(usual(1).astype(np.int64))
    found = project(unordered(histogram, period_ns=PERIOD_NS))
    assert found.gates[0].detail == "the order of the wake-ups is not known"
    assert "order: the order of the wake-ups is not known" in found.refused


def test_an_unknown_period_is_refused() -> None:
    found = project(replace(digest(usual(1)), period_ns=0))
    assert "order: the period is not known, so there is no time to project to" in found.refused


@pytest.mark.parametrize(
    ("latency_ns", "missed", "unknown"),
    [(7_300_000, 7, 0), (6_990_000, 7, 0), (5_000_000, 7, 1), (25_000, 1, 1)],
)
def test_overruns_need_the_late_wake_up_before_them(
    latency_ns: int, missed: int, unknown: int
) -> None:
    series = usual(1).astype(np.int64)
    series[20_000] = latency_ns
    series[20_001 : 20_001 + missed] = MISSED
    found = project(digest(series))
    assert found.gates[2].name == "latencies complete"
    assert found.gates[2].passed == (unknown == 0)
    expected = f"{missed} overruns after 1 wake-ups, {unknown} of those not known in full"
    assert expected in found.gates[2].detail


def test_overruns_at_the_very_beginning_are_not_explained() -> None:
    series = usual(1).astype(np.int64)
    series[:3] = MISSED
    assert failed(project(digest(series))) == {"latencies complete"}


def test_latencies_beyond_the_last_bin_are_refused() -> None:
    trial = digest(usual(1))
    capped = binned([(0, 999, 39_999)], overflow=1, overflow_from_ns=50_000)
    found = project(replace(trial, histogram=capped))
    assert "1 latencies beyond a last bin" in found.refused


def test_seconds_without_a_wake_up_are_no_quiet_seconds() -> None:
    series = usual(11).astype(np.int64)
    series[20_000] = 2_000 * PERIOD_NS
    series[20_001:22_001] = MISSED
    found = project(digest(series))
    assert "maxima of 191 parts" in next(
        gate.detail for gate in found.gates if gate.name == "halves alike"
    )


def test_a_trial_with_more_wake_ups_than_peaks() -> None:
    series = usual(3, 4 * PEAKS)
    found = project(digest(series))
    assert found.fit is not None
    above = series.astype(np.int64) >= found.fit.chosen.threshold_ns
    assert found.fit.chosen.exceedances == above.sum()


def test_the_upper_limit_is_never_below_what_was_seen() -> None:
    for seed in range(12):
        series = usual(seed, 20_000)
        found = project(digest(series), horizons_ns=(20_000 * PERIOD_NS,))
        if not found.refused:
            upper_ns = found.levels[0].upper_ns
            assert upper_ns is not None
            assert upper_ns >= int(series.max())


def test_levels_grow_with_horizon_and_confidence() -> None:
    trial = digest(usual(11))
    horizons_ns = tuple(40_000 * PERIOD_NS * times for times in (1, 10, 100))
    found = {
        confidence: project(trial, horizons_ns=horizons_ns, confidence_percent=confidence)
        for confidence in (80.0, 95.0, 99.0)
    }
    assert [one.refused for one in found.values()] == [""] * 3
    for one in found.values():
        values = [level.value_ns or 0 for level in one.levels]
        assert values == sorted(set(values))
        assert all((level.upper_ns or 0) > (level.value_ns or 0) for level in one.levels)
    uppers = [one.levels[1].upper_ns or 0 for one in found.values()]
    assert uppers == sorted(set(uppers))


def test_a_horizon_within_the_bulk_is_left_to_the_quantiles() -> None:
    found = project(digest(usual(11)), horizons_ns=(10 * PERIOD_NS,))
    assert found.levels[0].refused == "so short that the measured quantiles tell it"


@pytest.mark.parametrize("confidence", [50.0, 100.0, -1.0])
def test_a_confidence_without_an_upper_limit_is_refused(confidence: float) -> None:
    with pytest.raises(UsageError, match="has no upper limit") as caught:
        project(digest(usual(1)), confidence_percent=confidence)
    assert "95" in caught.value.hint


@pytest.mark.parametrize("size", [0, 10_000, 40_000])
def test_it_promises_nothing(size: int) -> None:
    found = project(digest(usual(1, size)))
    text = " ".join([found.note, found.refused, *(gate.detail for gate in found.gates)])
    assert "Model-based projection under unchanged conditions" in text
    assert not re.search(r"wcet|worst.case|guarantee|safe", text, re.IGNORECASE)


@settings(max_examples=40)
@given(
    values=st.lists(
        st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 100_000), st.just(MISSED)),
        min_size=1,
        max_size=60,
    ),
    spread=st.sampled_from([0, 1, 1000, 1_000_000]),
    seed=st.integers(0, 100),
)
def test_any_latencies_are_projected_or_refused(values: list[int], spread: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    series = rng.choice(np.array(values, np.int64), 12_000)
    near = np.abs(series // 2) < 1 << 60
    series[near] += rng.geometric(1 / (spread + 1), near.sum())
    found = project(digest(series))
    assert bool(found.refused) == bool(failed(found))
    for level in found.levels:
        assert bool(level.refused) == (level.value_ns is None)
        assert (level.upper_ns is None) == (level.value_ns is None)
