"""The catalogue of known periods."""

from __future__ import annotations

import pytest

from vmjitter.session.measure import LOOK_S
from vmjitter.stats.catalogue import CATALOGUE, CLOCKS_DIFFER, matching
from vmjitter.units import NS_PER_MS, NS_PER_S


def names(period_ns: float, uncertainty_ns: float = 0, *, exactly: bool = False) -> set[str]:
    return {one.name for one in matching(period_ns, uncertainty_ns, exactly=exactly)}


def test_it_is_in_order_and_names_its_sources() -> None:
    periods = [one.period_ns for one in CATALOGUE]
    assert periods == sorted(periods)
    assert len({one.name for one in CATALOGUE}) == len(CATALOGUE)
    assert all(one.source for one in CATALOGUE)


def test_it_knows_our_own_looks_at_the_shared_memory() -> None:
    ours = next(one for one in CATALOGUE if one.name.startswith("vmjitter"))
    assert ours.period_ns == LOOK_S * NS_PER_S


@pytest.mark.parametrize(
    ("period_ns", "expected"),
    [
        (NS_PER_S // 300, "timer tick of a kernel with HZ=300"),
        (100 * NS_PER_MS, "CPU bandwidth control (CFS quota)"),
        (NS_PER_S, "real-time throttling"),
        (1_004 * NS_PER_MS, "vmstat_update"),
        (5_010 * NS_PER_MS, "writeback of dirty pages"),
        (10 * NS_PER_S, "khugepaged"),
        (64 * NS_PER_S, "NTP client, shortest poll"),
        (300 * NS_PER_S, "machine check polling"),
    ],
)
def test_a_period_gets_its_names(period_ns: int, expected: str) -> None:
    assert expected in names(period_ns)


def test_what_counts_in_ticks_may_be_late_and_what_does_not_may_not() -> None:
    late = names(1_008 * NS_PER_MS)
    assert "vmstat_update" in late
    assert "real-time throttling" not in late
    assert "vmstat_update" not in names(1_008 * NS_PER_MS, exactly=True)
    assert "vmstat_update" not in names(990 * NS_PER_MS)


def test_clocks_and_the_uncertainty_give_a_margin() -> None:
    assert "khugepaged" in names(10 * NS_PER_S * (1 - CLOCKS_DIFFER / 2))
    assert "khugepaged" not in names(10 * NS_PER_S * (1 - 3 * CLOCKS_DIFFER))
    assert "khugepaged" in names(10 * NS_PER_S * (1 - 3 * CLOCKS_DIFFER), 25 * NS_PER_MS)


def test_a_period_of_nobody_has_no_name() -> None:
    assert names(7 * NS_PER_S) == set()
