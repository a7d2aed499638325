"""Episodes: misses that come together are one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.stats.digest import digest_of, unordered
from vmjitter.stats.episodes import Episodes, episodes, gap_activations, gap_rule, grouped
from vmjitter.stats.histogram import MISSED, empty_histogram
from vmjitter.units import NS_PER_MS, NS_PER_S

MS = NS_PER_MS


def group(*places: int, period_ns: int = MS) -> Episodes:
    return grouped(np.array(places, np.int64), period_ns=period_ns)


@pytest.mark.parametrize(
    ("period_ns", "gap", "rule"),
    [
        (MS, 100, "misses less than 100.00 ms apart"),
        (250_000, 400, "misses less than 100.00 ms apart"),
        (1_500_000, 67, "misses less than 100.00 ms apart"),
        (10 * MS, 10, "misses less than 100.00 ms apart"),
        (50 * MS, 10, "misses less than 500.00 ms apart"),
        (NS_PER_S, 10, "misses less than 10.00 s apart"),
        (0, 10, "misses less than 10 activations apart"),
    ],
)
def test_the_gap_is_ten_periods_or_100_ms(period_ns: int, gap: int, rule: str) -> None:
    assert gap_activations(period_ns) == gap
    assert gap_rule(period_ns) == rule
    assert len(group(5, 5 + gap - 1, period_ns=period_ns)) == 1
    assert len(group(5, 5 + gap, period_ns=period_ns)) == 2


def test_no_miss_is_no_episode() -> None:
    none = group()
    assert (len(none), none.misses, none.most_misses, none.longest, none.longest_ns) == (0,) * 5
    assert none.mean_misses == 1


def test_a_stall_of_50_ms_is_one_episode_of_50_misses() -> None:
    latency_ns = np.full(10_000, 20_000)
    latency_ns[4000] = 50 * MS
    latency_ns[4001:4050] = MISSED
    latency_ns[9000] = 7 * MS
    trial = digest_of([latency_ns], period_ns=MS, activations=10_000, deadline_ns=5 * MS)
    found = episodes(trial)
    assert (len(found), found.misses, found.most_misses) == (2, 51, 50)
    assert (found.longest, found.longest_ns) == (50, 50 * MS)
    assert found.mean_misses == 25.5


def test_without_an_order_there_are_none() -> None:
    with pytest.raises(ValueError, match="need the order"):
        episodes(unordered(empty_histogram()))


@given(
    places=st.sets(st.integers(0, 3000), max_size=80),
    period_ns=st.sampled_from([0, 250_000, MS, 20 * MS]),
)
@settings(max_examples=150, deadline=None)
def test_grouping_is_what_a_walk_finds(places: set[int], period_ns: int) -> None:
    ordered = sorted(places)
    groups: list[list[int]] = []
    for place in ordered:
        if groups and place - groups[-1][-1] < gap_activations(period_ns):
            groups[-1].append(place)
        else:
            groups.append([place])
    found = group(*ordered, period_ns=period_ns)
    assert found.count == len(groups)
    assert found.misses == len(places)
    assert found.most_misses == max(map(len, groups), default=0)
    assert found.longest == max((one[-1] - one[0] + 1 for one in groups), default=0)
