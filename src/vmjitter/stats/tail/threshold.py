"""Where the tail begins: a grid of thresholds, and the lowest above which a Pareto law fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmjitter.stats.digest import PEAKS, Digest
from vmjitter.stats.tail.clusters import Clusters, decluster
from vmjitter.stats.tail.goodness import anderson_darling, forward_stop, p_value
from vmjitter.stats.tail.model import Threshold
from vmjitter.stats.tail.pareto import Excesses, Pareto, by_likelihood, excesses, spread

Int64s = NDArray[np.int64]

FEWEST_CLUSTERS: Final = 50
MOST_CLUSTERS: Final = 500
FEWEST_DISTINCT: Final = 10
"""With fewer different latencies among the fitted ones, there is no law to see."""

LONGEST_NS: Final = 1 << 60
"""Longer than any measurement: such a latency is damage."""

_TAIL_SHARE: Final = 0.1
_GRID_RATIO: Final = 1.18
STOP_LEVEL: Final = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Tail:
    """The latest wake-ups of some consecutive activations.

    Attributes:
        index: activation of each, ascending; ``latency_ns``: their latencies.
        activations: how many these are the latest of.
        complete_from_ns: no wake-up of this latency or a later one is left out.
        resolution_ns: latencies are multiples of it.
    """

    index: Int64s
    latency_ns: Int64s
    activations: int
    complete_from_ns: int
    resolution_ns: int

    def first(self, activations: int) -> Tail:
        """That part of it which lies in the first activations."""
        count = int(np.searchsorted(self.index, activations))
        return replace(
            self,
            index=self.index[:count],
            latency_ns=self.latency_ns[:count],
            activations=activations,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Bursts:
    """A threshold and what exceeds it."""

    threshold_ns: int
    exceedances: int
    clusters: Clusters
    excesses: Excesses


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A threshold and the fit of what exceeds it."""

    bursts: Bursts
    pareto: Pareto
    found: Threshold


def tail_of(digest: Digest) -> Tail:
    """The latest wake-ups that a digest keeps; there must be some.

    Their resolution is the greatest common divisor of their differences: 1 ns for our own, 1000 ns
    where another tool rounded to microseconds.
    """
    latency_ns = digest.peak_ns
    lowest = int(latency_ns.min())
    common = int(np.gcd.reduce(latency_ns - lowest))
    full = len(latency_ns) >= PEAKS
    return Tail(
        index=digest.peak_index,
        latency_ns=latency_ns,
        activations=digest.activations,
        complete_from_ns=lowest + 1 if full else lowest,
        resolution_ns=max(common, 1),
    )


def scan(tail: Tail) -> list[Bursts]:
    """The thresholds that leave 50 to 500 bursts, from the lowest.

    At most a tenth of the activations may exceed a threshold: below is no tail.
    """
    found = []
    for threshold_ns in _grid(tail):
        above = np.flatnonzero(tail.latency_ns >= threshold_ns)
        if len(above) < FEWEST_CLUSTERS:
            continue
        clusters = decluster(tail.index[above], tail.latency_ns[above])
        if FEWEST_CLUSTERS <= len(clusters.start) <= MOST_CLUSTERS:
            found.append(
                Bursts(
                    threshold_ns=threshold_ns,
                    exceedances=len(above),
                    clusters=clusters,
                    excesses=excesses(clusters.latest_ns, threshold_ns, tail.resolution_ns),
                )
            )
    return found


def fitted(bursts: list[Bursts]) -> list[Candidate]:
    """Fit each that has enough different latencies."""
    return [_fitted(one) for one in bursts if len(one.excesses.low) >= FEWEST_DISTINCT]


def choose(grid: list[Candidate]) -> tuple[int | None, tuple[Threshold, ...]]:
    """The place of the lowest threshold that fits, if any does, and the grid with it marked."""
    rejected = forward_stop([one.found.p_value for one in grid], STOP_LEVEL)
    marked = tuple(replace(one.found, chosen=place == rejected) for place, one in enumerate(grid))
    return (rejected if rejected < len(grid) else None), marked


def _grid(tail: Tail) -> list[int]:
    """Thresholds that 50 wake-ups, and each time 18 % more, exceed; ascending.

    Each is just above a latency that occurred: given that one, the excesses of the later ones have
    the law of a fixed threshold, while its own excess would always be 0.
    """
    descending = np.sort(tail.latency_ns)[::-1]
    most = min(len(descending) - 1, int(tail.activations * _TAIL_SHARE))
    if most < FEWEST_CLUSTERS:
        return []
    steps = int(np.log(most / FEWEST_CLUSTERS) / np.log(_GRID_RATIO)) + 1
    place = (FEWEST_CLUSTERS * _GRID_RATIO ** np.arange(steps)).astype(np.int64)
    edges = np.unique(descending[np.minimum(place, most)]) + tail.resolution_ns
    return [int(edge) for edge in edges if edge >= tail.complete_from_ns]


def _fitted(bursts: Bursts) -> Candidate:
    data = bursts.excesses
    pareto = by_likelihood(data)
    distance = anderson_darling(data, pareto)
    found = Threshold(
        threshold_ns=bursts.threshold_ns,
        exceedances=bursts.exceedances,
        clusters=data.total,
        distinct=len(data.low),
        theta=bursts.clusters.theta,
        run_length=bursts.clusters.run_length,
        shape=pareto.shape,
        shape_error=float(spread(pareto, data.total)[0, 0]),
        scale_ns=pareto.scale,
        mean_excess_ns=float(data.each.mean()),
        distance=distance,
        p_value=p_value(distance, pareto.shape),
    )
    return Candidate(bursts=bursts, pareto=pareto, found=found)
