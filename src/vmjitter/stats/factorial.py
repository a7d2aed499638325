"""What each of several mitigations contributes, from trials with different combinations of them.

Latencies of different scenarios differ by factors, so everything is done on logarithms: an effect
is a ratio, and mitigations that act independently multiply.  Two combinations that differ in one
mitigation only are compared within each round, so that a slow change of the machine cancels out;
rounds are the replicates, and intervals are Student's over them (Montgomery, "Design and Analysis
of Experiments", chapters 4 and 6: blocking, contrasts of a factorial design).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

from scipy import stats

Cell = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A factor between two latencies: below 1 is an improvement.

    Attributes:
        estimate: geometric mean over rounds.
        low: lower limit of its interval, None with fewer than two rounds; likewise ``high``.
        rounds: how many it comes from.
    """

    estimate: float
    low: float | None
    high: float | None
    rounds: int

    @property
    def shown(self) -> bool:
        """Whether the interval excludes that nothing changes."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one mitigation does.

    Attributes:
        alone: against no mitigation at all.
        last: against all the others.
        average: over every pair of combinations that differ in it only.
    """

    mitigation: str
    alone: Ratio | None
    last: Ratio | None
    average: Ratio


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """How two mitigations act together.

    Attributes:
        ratio: effect of both over the product of their single effects: 1 if they are independent,
            above 1 if one leaves less for the other, below 1 if they need each other.
    """

    one: str
    other: str
    ratio: Ratio


@dataclass(frozen=True, kw_only=True)
class Factorial:
    """The result for one statistic.

    Attributes:
        all_together: all mitigations against none.
    """

    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]
    all_together: Ratio | None
    confidence_percent: float


def factorial(
    values: Mapping[tuple[Cell, int], float], names: Sequence[str], *, confidence_percent: float
) -> Factorial:
    """Take the contributions apart.

    Args:
        values: a latency above zero by combination and round.
        names: of the mitigations.
        confidence_percent: of each interval, two-sided.
    """
    table = _Table(values, confidence_percent)
    everything = frozenset(names)
    effects = tuple(
        effect for name in names if (effect := _effect(table, name, everything)) is not None
    )
    interactions = (
        Interaction(one=one, other=other, ratio=ratio)
        for one, other in combinations(names, 2)
        if (ratio := _interaction(table, frozenset({one}), frozenset({other}))) is not None
    )
    return Factorial(
        effects=effects,
        interactions=tuple(interactions),
        all_together=table.ratio(everything, frozenset()),
        confidence_percent=confidence_percent,
    )


def _effect(table: _Table, name: str, everything: Cell) -> Effect | None:
    one = frozenset({name})
    pairs = [(cell, cell - one) for cell in table.cells if name in cell]
    average = table.average(pairs)
    if average is None:
        return None
    return Effect(
        mitigation=name,
        alone=table.ratio(one, frozenset()),
        last=table.ratio(everything, everything - one),
        average=average,
    )


def _interaction(table: _Table, one: Cell, other: Cell) -> Ratio | None:
    cells = (one | other, one, other, frozenset[str]())
    return table.contrast(cells, (1, -1, -1, 1))


class _Table:
    """Logarithms by combination and round."""

    def __init__(self, values: Mapping[tuple[Cell, int], float], confidence_percent: float) -> None:
        self._logs = {key: math.log(value) for key, value in values.items() if value > 0}
        self._rounds = sorted({number for _, number in self._logs})
        self._wrong = 1 - confidence_percent / 100
        self.cells = sorted({cell for cell, _ in self._logs}, key=sorted)

    def ratio(self, after: Cell, before: Cell) -> Ratio | None:
        """One combination over another."""
        return self.contrast((after, before), (1, -1))

    def average(self, pairs: Iterable[tuple[Cell, Cell]]) -> Ratio | None:
        """Over several pairs: their mean in each round in which all of them are there."""
        known = [pair for pair in pairs if self.ratio(*pair) is not None]
        cells = tuple(cell for pair in known for cell in pair)
        weights = tuple(weight / len(known) for _ in known for weight in (1, -1))
        return self.contrast(cells, weights)

    def contrast(self, cells: Sequence[Cell], weights: Sequence[float]) -> Ratio | None:
        """The weighted sum of the logarithms, over rounds; None if no round has all cells."""
        sums = [
            sum(
                weight * self._logs[cell, number]
                for cell, weight in zip(cells, weights, strict=True)
            )
            for number in self._rounds
            if cells and all((cell, number) in self._logs for cell in cells)
        ]
        return _ratio(sums, self._wrong) if sums else None


def _ratio(logs: Sequence[float], wrong: float) -> Ratio:
    mean = fmean(logs)
    if len(logs) < 2:
        return Ratio(estimate=math.exp(mean), low=None, high=None, rounds=len(logs))
    quantile = float(stats.t.ppf(1 - wrong / 2, len(logs) - 1))
    half = quantile * stdev(logs) / math.sqrt(len(logs))
    return Ratio(
        estimate=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        rounds=len(logs),
    )
