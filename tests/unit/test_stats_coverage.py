"""Coverage: a limit said to hold in 95 of 100 cases does, also with few misses and short trials.

Where the law of what is counted is known, the coverage is summed up exactly.  Elsewhere trials with
a known truth are simulated; with 2000 of them, 5 % are 100 with a standard error of 10.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from vmjitter.stats.bounds import mean_limits, share_limits
from vmjitter.stats.evidence import Evidence
from vmjitter.stats.quantiles import covered_share, limit_ranks

Sizes = Callable[[np.random.Generator, int], NDArray[np.int64]]

TRIALS = 2000
SLACK = 0.05 + 3 * 0.005


@pytest.mark.parametrize("of", [1, 2, 5, 20, 200])
@pytest.mark.parametrize("percent", [90.0, 95.0])
def test_limits_of_a_share(of: int, percent: float) -> None:
    counts = np.arange(of + 1)
    limits = [share_limits(int(count), of, confidence_percent=percent) for count in counts]
    for share in np.concatenate([np.geomspace(1e-4, 0.5, 60), np.linspace(0.5, 0.999, 20)]):
        law = stats.binom.pmf(counts, of, share)
        lower = sum(law[[limit.lower <= share for limit in limits]])
        upper = sum(law[[limit.upper >= share for limit in limits]])
        assert min(lower, upper) >= percent / 100 - 1e-9


@pytest.mark.parametrize("percent", [90.0, 95.0, 99.0])
def test_limits_of_a_mean(percent: float) -> None:
    counts = np.arange(120)
    limits = [mean_limits(int(count), confidence_percent=percent) for count in counts]
    worst = 1.0
    for mean in np.geomspace(0.001, 50, 150):
        law = stats.poisson.pmf(counts, mean)
        lower = sum(law[[limit.lower <= mean for limit in limits]])
        upper = sum(law[[limit.upper >= mean for limit in limits]])
        worst = min(worst, lower, upper)
    assert percent / 100 - 1e-9 <= worst < percent / 100 + 0.005  # exact: not too careful either


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize(("total", "share"), [(300, "0.99"), (40, "0.9"), (15, "0.5")])
def test_limits_of_a_quantile(total: int, share: str, *, continuous: bool) -> None:
    random = np.random.default_rng(total)
    scale = 1e6 if continuous else 3.0  # coarse latencies have many ties
    samples = np.sort(np.floor(random.exponential(scale, (TRIALS, total))), axis=1)
    truth = np.floor(stats.expon.ppf(float(share), scale=scale))
    lower, upper = limit_ranks(total, Fraction(share), wrong=0.05)
    assert lower is not None
    assert upper is not None
    assert np.mean(samples[:, lower - 1] > truth) <= SLACK
    assert np.mean(samples[:, upper - 1] < truth) <= SLACK


def test_the_share_that_the_maximum_covers() -> None:
    random = np.random.default_rng(5)
    beyond = stats.expon.sf(random.exponential(size=(TRIALS, 240)).max(axis=1))
    covered = np.mean(beyond <= 1 - covered_share(240, wrong=0.05))
    assert covered == pytest.approx(0.95, abs=0.012)


SIZES: dict[str, tuple[float, Sizes]] = {
    "single": (1, lambda _random, count: np.ones(count, np.int64)),
    "five each": (5, lambda _random, count: np.full(count, 5)),
    "geometric": (3, lambda random, count: random.geometric(1 / 3, count)),
    "1 or 50": (25.5, lambda random, count: random.choice([1, 50], count)),
    "rarely 1000": (10.99, lambda random, count: random.choice([1, 1000], count, p=[0.99, 0.01])),
}


@cache
def expected(sizes: tuple[int, ...], *, ordered: bool) -> tuple[float, float]:
    """The limits of the expected misses from the sizes of the episodes that were seen."""
    misses = sum(sizes)
    known = ordered or misses <= 1
    found = Evidence(
        misses=misses,
        possible=misses,
        activations=3_600_000,
        period_ns=1_000_000,
        episodes=len(sizes) if known else None,
        squares=sum(size * size for size in sizes) if known else misses**2,
        largest=max(sizes, default=0) if known else misses,
        confidence_percent=95.0,
    )
    return found.expected_misses.lower, found.expected_misses.upper


def wrong(name: str, episodes: float, *, ordered: bool) -> tuple[float, float]:
    """How often the lower and the upper limit are wrong, for so many episodes on average."""
    mean, draw = SIZES[name]
    random = np.random.default_rng(20)
    truth = episodes * mean
    found = []
    for count in random.poisson(episodes, TRIALS):
        sizes = tuple(sorted(draw(random, int(count)).tolist()))
        found.append(expected(sizes, ordered=ordered))
    lower, upper = np.array(found).T
    return float(np.mean(lower > truth)), float(np.mean(upper < truth))


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("episodes", [0.05, 0.35, 3.0])
@pytest.mark.parametrize("name", SIZES)
def test_a_fail_is_seldom_wrong_whatever_misses_depend_on(
    name: str, episodes: float, *, ordered: bool
) -> None:
    assert wrong(name, episodes, ordered=ordered)[0] <= SLACK


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("name", "episodes"),
    [
        ("single", 3.5),
        ("single", 12.0),
        ("five each", 12.0),
        ("geometric", 20.0),
        ("1 or 50", 12.0),
    ],
)
def test_a_pass_is_seldom_wrong_if_the_sizes_were_seen(
    name: str, episodes: float, *, ordered: bool
) -> None:
    assert wrong(name, episodes, ordered=ordered)[1] <= SLACK


def test_what_was_not_seen_is_in_no_limit() -> None:
    # One in a hundred episodes has 1000 misses, and 3 episodes occurred: the limit cannot know.
    assert wrong("rarely 1000", 3.0, ordered=True)[1] > 0.9
