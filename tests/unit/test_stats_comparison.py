"""Groups of trials against each other: figures, tests, and how often they are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from vmjitter.model.judge import Lack, Target
from vmjitter.stats.comparison import (
    MIN_TRIALS,
    Change,
    Comparison,
    Measured,
    Metric,
    compare,
    design_of,
    figures_of,
    significance_of,
)
from vmjitter.stats.digest import Digest, digest_of, unordered
from vmjitter.stats.histogram import MISSED, Histogram, binned

PERIOD_NS = 1_000_000
PLAIN = Target(deadline_ns=None)
DEADLINE = Target(deadline_ns=200_000)


def digest(latency_ns: Sequence[int] | np.ndarray, deadline_ns: int | None = None) -> Digest:
    values = np.asarray(latency_ns, np.int64)
    return digest_of(
        [values], period_ns=PERIOD_NS, activations=len(values), deadline_ns=deadline_ns
    )


def trials(
    count: int, *, seed: int, factor: float = 1.0, wake_ups: int = 4000, blocks: bool = False
) -> list[Measured]:
    """Trials whose boots differ a little, and whose latencies are ``factor`` times as long."""
    random = np.random.default_rng(seed)
    made = []
    for place in range(count):
        boot = random.lognormal(0, 0.05)
        latency = 20_000 * boot * factor * random.lognormal(0, 0.5, wake_ups)
        made.append(
            Measured(
                digest=digest(latency, DEADLINE.deadline_ns), block=place // 2 if blocks else None
            )
        )
    return made


def shown(found: Comparison) -> dict[str, Change]:
    return {row.metric.value: row.change for row in found.decisive}


def test_a_large_difference_is_shown_in_every_figure() -> None:
    found = compare(trials(4, seed=1), trials(4, seed=2, factor=0.3), DEADLINE)
    assert found.change is Change.BETTER
    assert shown(found)["p99"] is shown(found)["max"] is Change.BETTER
    row = found.row(Metric.P99)
    assert row is not None
    assert row.p_value == row.adjusted == pytest.approx(2 / 70)
    assert row.ratio is not None
    assert row.ratio.estimate == pytest.approx(0.3, rel=0.15)
    assert row.difference is not None
    assert row.difference.low is not None
    assert row.difference.high is not None
    assert row.difference.low <= row.difference.estimate <= row.difference.high < 0
    back = compare(trials(4, seed=2, factor=0.3), trials(4, seed=1), DEADLINE)
    assert back.change is Change.WORSE


def test_no_difference() -> None:
    found = compare(trials(5, seed=3), trials(5, seed=4), PLAIN)
    assert found.change is Change.NOT_SHOWN
    assert found.row(Metric.MISSES) is None
    assert found.counts is None


@pytest.mark.parametrize(
    "sizes", [(1, 1), (3, 3), (3, 4), (4, 2), (3, 100), (0, 4), (4, 0), (0, 0)]
)
def test_too_few_trials(sizes: tuple[int, int]) -> None:
    few = trials(sizes[0], seed=5, wake_ups=400)
    found = compare(few, trials(sizes[1], seed=6, factor=50, wake_ups=400), DEADLINE)
    assert found.too_few
    assert found.change is Change.TOO_FEW
    assert found.trials_needed == MIN_TRIALS
    assert all(row.change in (Change.NOT_SHOWN, Change.NOT_TESTED) for row in found.rows)


def test_three_trials_are_too_few_at_any_confidence() -> None:
    lax = Target(deadline_ns=None, confidence_percent=80.0)
    assert compare(trials(3, seed=5), trials(3, seed=6, factor=9), lax).too_few
    strict = Target(deadline_ns=None, confidence_percent=99.0)
    four = compare(trials(4, seed=5), trials(4, seed=6, factor=9), strict)
    assert four.change is Change.TOO_FEW
    assert four.trials_needed == 5
    five = compare(trials(5, seed=5), trials(5, seed=6, factor=9), strict)
    assert five.change is Change.WORSE


def test_worse_in_one_figure_is_worse() -> None:
    """A better end and a worse bulk; 5 trials, for each figure has to show it for itself."""
    before, after = [], []
    for place in range(5):
        before.append(
            Measured(digest=digest([*([10_000 + place] * 3990), *([900_000 + place] * 10)]))
        )
        after.append(
            Measured(digest=digest([*([50_000 + place] * 3990), *([100_000 + place] * 10)]))
        )
    found = compare(before, after, PLAIN)
    assert shown(found) == {
        "p99": Change.WORSE, "p99.9": Change.BETTER, "max": Change.BETTER
    }  # fmt: skip
    assert found.change is Change.WORSE
    assert found.curves is not None
    assert len(found.curves.crossings) == 1


def test_the_primary_figure_stands_by_itself() -> None:
    """At 4 + 4, one figure that is apart shows it if it was named before, and only then."""
    before = [Measured(digest=digest([*([10] * 3990), *([900 + k] * 10)])) for k in range(4)]
    after = [
        Measured(digest=digest([*([10] * 3990), *([900 + k] * 9), 100_000 + k])) for k in range(4)
    ]
    found = compare(before, after, PLAIN)
    assert shown(found) == {
        "p99": Change.NOT_SHOWN, "p99.9": Change.NOT_SHOWN, "max": Change.WORSE
    }  # fmt: skip
    other = compare(before, after, PLAIN, primary=Metric.P50)
    assert [row.metric for row in other.decisive] == [
        Metric.P50, Metric.P99, Metric.P999, Metric.MAX
    ]  # fmt: skip
    row = other.row(Metric.MAX)
    assert row is not None
    assert row.adjusted is not None
    assert row.p_value == pytest.approx(2 / 70)
    assert row.adjusted == pytest.approx(4 / 70)  # p99.9 might have been the one, as well
    assert row.change is Change.NOT_SHOWN


def test_blocks_are_used_where_they_can_show_something() -> None:
    four = design_of(trials(4, seed=1, blocks=True), trials(4, seed=2, blocks=True), 0.05)
    assert len(four) == 1  # 36 ways within two blocks of 2 + 2 are not enough
    one, other = (trials(6, seed=seed, blocks=True) for seed in (1, 2))
    assert len(design_of(one, other, 0.05, figures=4)) == 3
    assert len(design_of(one, other, 0.01, figures=4)) == 1
    mixed = design_of(trials(6, seed=1, blocks=True), trials(6, seed=2), 0.05)
    assert len(mixed) == 1
    assert compare(one, other, PLAIN).blocks == 3


def test_misses_and_episodes_per_hour() -> None:
    latency = np.full(3600, 10_000)
    latency[[100, 101, 2000]] = 300_000
    latency[500] = MISSED
    found = figures_of(Measured(digest=digest(latency, DEADLINE.deadline_ns)), DEADLINE)
    assert (found.wake_ups, found.overruns, found.misses, found.episodes) == (3599, 1, 4, 3)
    assert found.hours == pytest.approx(1e-3)
    assert found.value(Metric.MISSES) == pytest.approx(4000)
    assert found.value(Metric.EPISODES) == pytest.approx(3000)
    assert found.value(Metric.P9999) is None
    assert found.value(Metric.MAX) == 300_000


def test_what_a_source_does_not_tell_is_not_compared() -> None:
    histogram = binned([(1000 * k, 1000 * k + 999, 100) for k in range(50)], max_ns=49_000)
    whole = unordered(histogram, period_ns=PERIOD_NS)
    values = {
        lack: figures_of(Measured(digest=whole, lacks=frozenset({lack})), DEADLINE) for lack in Lack
    }
    assert values[Lack.OVERRUNS].misses is None
    assert values[Lack.OVERRUNS].value(Metric.P99) == 49_000
    assert values[Lack.OVERFLOW].value(Metric.P99) is None
    assert values[Lack.EXTREMES].value(Metric.MAX) is None
    assert values[Lack.PERIOD].value(Metric.MISSES) is None
    assert values[Lack.ORDER].misses == 0
    lacking = [Measured(digest=whole, lacks=frozenset({Lack.EXTREMES}))] * 4
    found = compare(lacking, lacking, PLAIN)
    row = found.row(Metric.MAX)
    assert row is not None
    assert row.lacking == "8 trials without a known maximum"
    assert found.change is Change.NOT_SHOWN  # the quantiles are equal


def test_quantiles_need_their_wake_ups() -> None:
    found = compare(trials(4, seed=1, wake_ups=1000), trials(4, seed=2, wake_ups=1000), PLAIN)
    row = found.row(Metric.P999)
    assert row is not None
    assert "fewer than 3000 wake-ups" in row.lacking
    assert [row.metric for row in found.decisive] == [Metric.P99, Metric.MAX]


def test_counts_of_two_poisson_processes() -> None:
    """Przyborowski and Wilenski's question: 1 against 7 events in equal times; p = 2 x 9/256."""

    def with_episodes(count: int) -> Measured:
        latency = np.full(5000, 10_000)
        latency[200 * np.arange(count)] = 300_000
        return Measured(digest=digest(latency, DEADLINE.deadline_ns))

    found = compare([with_episodes(1)], [with_episodes(7)], DEADLINE).counts
    assert found is not None
    assert found.what is Metric.EPISODES
    assert (found.before, found.after) == (1, 7)
    assert found.p_value == pytest.approx(18 / 256)
    assert not found.clustered
    wild = compare([with_episodes(0), with_episodes(20)], [with_episodes(5)] * 2, DEADLINE).counts
    assert wild is not None
    assert wild.clustered


def test_levels_are_exact() -> None:
    assert significance_of(95.0) == 0.05
    assert significance_of(99.9) == 0.001


def test_the_same_input_gives_the_same_result() -> None:
    one, other = (compare(trials(4, seed=1), trials(4, seed=2), DEADLINE) for _ in range(2))
    assert one.rows == other.rows
    assert one.curves is not None
    assert other.curves is not None
    assert one.curves.before.low.tobytes() == other.curves.before.low.tobytes()


def quick(latency_ns: np.ndarray, block: int) -> Measured:
    """A trial by its histogram alone: a digest of 3000 wake-ups takes as long as of a million."""
    value, count = np.unique(latency_ns.astype(np.int64), return_counts=True)
    histogram = Histogram(
        low_ns=value, high_ns=value, count=count, min_ns=int(value[0]), max_ns=int(value[-1])
    )
    return Measured(digest=unordered(histogram, period_ns=PERIOD_NS), block=block)


@pytest.mark.parametrize("count", [4, 6])
def test_false_alarms(count: int) -> None:
    """Without a difference, at most 5 in 100 comparisons call B worse, and as many better."""
    random = np.random.default_rng(9)
    changes, cases = [], 100
    for _ in range(cases):
        boots = random.lognormal(0, 0.2, 2 * count)
        made = [
            quick(15_000 * boot * random.lognormal(0, 0.8, 3000), place // 2 % count)
            for place, boot in enumerate(boots)
        ]
        changes.append(compare(made[:count], made[count:], DEADLINE).change)
    wrong = max(changes.count(Change.WORSE), changes.count(Change.BETTER))
    assert wrong <= stats.binom.ppf(0.999, cases, 0.05)
