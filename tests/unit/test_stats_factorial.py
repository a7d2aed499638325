"""Contributions are found again, with intervals that hold as often as they say."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from vmjitter.stats.factorial import Cell, factorial

NAMES = ("virtio", "vhost", "priority")
CELLS = [frozenset(some) for size in range(4) for some in combinations(NAMES, size)]
TRUE = {"virtio": 0.25, "vhost": 0.8, "priority": 0.5}


def measured(
    rounds: int, *, noise: float, seed: int, together: float = 1.0
) -> dict[tuple[Cell, int], float]:
    random = np.random.default_rng(seed)
    return {
        (cell, number): 1e8
        * math.prod(TRUE[name] for name in cell)
        * (together if {"virtio", "priority"} <= cell else 1.0)
        * float(np.exp(random.normal(0.3 * number, noise)))
        for number in range(1, rounds + 1)
        for cell in CELLS
    }


def test_exact_values_are_taken_apart_exactly() -> None:
    values = {(cell, 1): 100.0 * math.prod(TRUE[name] for name in cell) for cell in CELLS}
    result = factorial(values, NAMES, confidence_percent=95)
    for effect in result.effects:
        assert effect.alone
        assert effect.last
        for ratio in (effect.alone, effect.last, effect.average):
            assert ratio.estimate == pytest.approx(TRUE[effect.mitigation])
            assert (ratio.low, ratio.high, ratio.shown) == (None, None, False)
    assert [one.ratio.estimate for one in result.interactions] == pytest.approx([1.0, 1.0, 1.0])
    assert result.all_together
    assert result.all_together.estimate == pytest.approx(0.1)


def test_mitigations_that_need_each_other_are_told() -> None:
    result = factorial(measured(6, noise=0.05, seed=1, together=0.2), NAMES, confidence_percent=95)
    found = {(one.one, one.other): one.ratio for one in result.interactions}
    assert found["virtio", "priority"].estimate == pytest.approx(0.2, rel=0.2)
    assert found["virtio", "priority"].shown
    alone = {effect.mitigation: effect.alone for effect in result.effects}
    assert alone["priority"]
    assert alone["priority"].estimate == pytest.approx(0.5, rel=0.2)


def test_intervals_hold_as_often_as_they_say() -> None:
    held = []
    for seed in range(300):
        result = factorial(measured(4, noise=0.4, seed=seed), NAMES, confidence_percent=90)
        for effect in result.effects:
            low, high = effect.average.low, effect.average.high
            assert low is not None
            assert high is not None
            held.append(low <= TRUE[effect.mitigation] <= high)
    assert 0.87 <= sum(held) / len(held) <= 0.93


def test_a_steady_change_between_rounds_cancels_out() -> None:
    result = factorial(measured(4, noise=1e-9, seed=3), NAMES, confidence_percent=95)
    for effect in result.effects:
        assert effect.average.estimate == pytest.approx(TRUE[effect.mitigation])
        assert effect.average.high
        assert effect.average.high / effect.average.estimate < 1.0001


def test_missing_trials_leave_out_what_needs_them() -> None:
    values = measured(2, noise=0.1, seed=4)
    for number in (1, 2):
        del values[frozenset({"virtio"}), number]
    values.pop((frozenset(NAMES), 2))
    result = factorial(values, NAMES, confidence_percent=95)
    effects = {effect.mitigation: effect for effect in result.effects}
    assert effects["virtio"].alone is None
    assert effects["virtio"].last
    assert effects["virtio"].last.rounds == 1
    assert {(one.one, one.other) for one in result.interactions} == {("vhost", "priority")}
    assert factorial({}, NAMES, confidence_percent=95).effects == ()
