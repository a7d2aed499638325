"""Was the trial the same from its beginning to its end?

Only then do its figures tell of the next hour.  What is compared are the latest wake-ups of 200
equal parts of the trial, by their ranks, and its misses.  Body and median are not looked at: the
latest wake-ups are what this is all about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from vmjitter.stats.changepoints import Scores, change_points, scores
from vmjitter.stats.digest import Digest
from vmjitter.stats.permutation import pooled, rank_test
from vmjitter.units import format_clock, format_ns, format_span

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]

PARTS: Final = 200
GROUPS: Final = 20
"""Parts are exchanged in so many groups, so that neighbours stay together."""

WARM_UP_PARTS: Final = 10
"""The first so many parts, 5 % of the trial, are called its warm-up.  Fixed beforehand."""

SIGNIFICANT: Final = 0.005
"""Of each test: p-values up to this are a finding."""

FEWEST_ACTIVATIONS: Final = 2000
_TAIL_SHARE: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Halves:
    """First half against second half: exact permutation tests of groups of neighbours.

    Attributes:
        p_value: that the latest wake-ups of both halves are equally late.
        max_ns: median of the parts' maxima, first half and second half.
        misses_p_value: that misses are as frequent in both halves; None if there is none.
        misses: in the first half and in the second half.
    """

    p_value: float
    max_ns: tuple[int, int]
    misses_p_value: float | None
    misses: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A place where the latest wake-ups become later or less late.

    Attributes:
        at_activation: the first activation after it, known to half a per cent of the trial.
        at_ns: the same as planned time since the first activation; 0 if the period is not known.
        before_ns: median of the parts' maxima from the change before to this one.
        after_ns: likewise from this one to the next.
    """

    at_activation: int
    at_ns: int
    before_ns: int
    after_ns: int


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """The beginning of the trial, and the figures with it and without it.

    Attributes:
        rule: what counts as warm-up.
        activations: in it.
        duration_ns: its length; 0 if the period is not known.
        p_value: that its latest wake-ups are as late as those of the rest.
        differs: whether that is `SIGNIFICANT`.
        max_ns: of the whole trial.
        max_without_ns: of the rest alone; None if it has no wake-up.
        p999_ns: of the whole trial; None if the digest does not reach down to it.
        p999_without_ns: likewise of the rest alone.
        misses: of the whole trial; ``misses_without``: of the rest alone.
    """

    rule: str
    activations: int
    duration_ns: int
    p_value: float
    differs: bool
    max_ns: int
    max_without_ns: int | None
    p999_ns: int | None
    p999_without_ns: int | None
    misses: int
    misses_without: int


@dataclass(frozen=True, kw_only=True)
class Stationarity:
    """Whether a trial was the same from its beginning to its end.

    Attributes:
        stationary: no test has found the contrary.
        parts: of which the latest wake-ups were compared.
        memory: correlation of neighbouring parts.
        changes: in their order.
        findings: what speaks against it, in sentences.
    """

    stationary: bool
    parts: int
    memory: float
    halves: Halves
    changes: tuple[Change, ...]
    warm_up: WarmUp
    findings: tuple[str, ...]


def stationarity(digest: Digest) -> Stationarity | None:
    """Test whether a trial was the same from its beginning to its end.

    Returns:
        None if the order of the wake-ups is not known, or if there are fewer than
        `FEWEST_ACTIVATIONS`, or wake-ups in fewer than half of the parts.
    """
    if not digest.ordered or digest.activations < FEWEST_ACTIVATIONS:
        return None
    if not len(digest.peak_ns):
        return None
    parts = _Parts.of(digest)
    if int(parts.awake.sum()) < PARTS // 2:
        return None
    scored = scores(parts.max_ns)
    halves = _halves(parts, scored)
    changes = tuple(_changes(parts, scored, digest))
    warm_up = _warm_up(parts, scored, digest)
    findings = (
        *_half_findings(halves),
        *_change_findings(changes, digest),
        *_warm_finding(warm_up),
    )
    return Stationarity(
        stationary=not findings,
        parts=len(parts.max_ns),
        memory=scored.memory,
        halves=halves,
        changes=changes,
        warm_up=warm_up,
        findings=findings,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """Equal parts of a trial.

    Attributes:
        edge: activations at which they begin, and the end of the last.
        max_ns: their latest wake-ups.  A part all of whose activations were missed has none: there
            the vCPU stood still, so it counts as the latest of all.
        misses: in each.
        awake: whether there was any wake-up.
    """

    edge: Int64s
    max_ns: Int64s
    misses: Int64s
    awake: NDArray[np.bool_]

    @staticmethod
    def of(digest: Digest) -> _Parts:
        """From the digest's peaks; a part without any counts as the lowest: ranks need no more."""
        edge = np.arange(PARTS + 1) * digest.activations // PARTS
        max_ns = np.full(PARTS, digest.peak_ns.min())
        np.maximum.at(max_ns, _part(edge, digest.peak_index), digest.peak_ns)
        missed = np.bincount(_part(edge, digest.missed_index), minlength=PARTS)
        awake = missed < np.diff(edge)
        max_ns[~awake] = digest.peak_ns.max()
        misses = np.bincount(_part(edge, digest.miss_index), minlength=PARTS)
        return _Parts(edge=edge, max_ns=max_ns, misses=misses, awake=awake)


def _part(edge: Int64s, index: Int64s) -> Int64s:
    return np.searchsorted(edge, index, side="right") - 1


def _halves(parts: _Parts, scored: Scores) -> Halves:
    middle = PARTS // 2
    any_miss = bool(parts.misses.any())
    return Halves(
        p_value=_exchanged(scored.value),
        max_ns=(_median(parts.max_ns[:middle]), _median(parts.max_ns[middle:])),
        misses_p_value=_exchanged(parts.misses.astype(np.float64)) if any_miss else None,
        misses=(int(parts.misses[:middle].sum()), int(parts.misses[middle:].sum())),
    )


def _exchanged(value: Floats) -> float:
    """Exact p-value of the rank sum of groups of neighbouring parts, first half and second."""
    # Rounded, so that equal groups stay equal whatever the order of the additions.
    group = np.round(value.reshape(GROUPS, -1).sum(axis=1), 9).tolist()
    half = GROUPS // 2
    return rank_test(group[:half], group[half:], pooled(half, half))


def _changes(parts: _Parts, scored: Scores, digest: Digest) -> Iterator[Change]:
    cuts = (0, *change_points(scored), PARTS)
    levels = [_median(parts.max_ns[begin:end]) for begin, end in pairwise(cuts)]
    for cut, (before_ns, after_ns) in zip(cuts[1:], pairwise(levels), strict=False):
        at = int(parts.edge[cut])
        yield Change(
            at_activation=at,
            at_ns=at * digest.period_ns,
            before_ns=before_ns,
            after_ns=after_ns,
        )


def _warm_up(parts: _Parts, scored: Scores, digest: Digest) -> WarmUp:
    cut = int(parts.edge[WARM_UP_PARTS])
    rest = digest.peak_index >= cut
    p_value = _begins_otherwise(scored)
    awake = digest.activations - digest.overruns
    awake_rest = awake - cut + int(np.count_nonzero(digest.missed_index < cut))
    return WarmUp(
        rule=f"the first {100 * WARM_UP_PARTS // PARTS} % of the activations",
        activations=cut,
        duration_ns=cut * digest.period_ns,
        p_value=p_value,
        differs=p_value <= SIGNIFICANT,
        max_ns=int(digest.peak_ns.max()),
        max_without_ns=int(digest.peak_ns[rest].max()) if rest.any() else None,
        p999_ns=_tail_quantile(digest.peak_ns, awake),
        p999_without_ns=_tail_quantile(digest.peak_ns[rest], awake_rest),
        misses=len(digest.miss_index),
        misses_without=int(np.count_nonzero(digest.miss_index >= cut)),
    )


def _begins_otherwise(scored: Scores) -> float:
    """Two-sided p-value that the mean score of the warm-up is that of the rest."""
    if scored.variance == 0:
        return 1.0
    first, rest = scored.value[:WARM_UP_PARTS], scored.value[WARM_UP_PARTS:]
    scatter = np.sqrt(scored.variance * (1 / len(first) + 1 / len(rest)))
    return float(2 * ndtr(-abs(first.mean() - rest.mean()) / scatter))


def _tail_quantile(peak_ns: Int64s, wake_ups: int) -> int | None:
    """The latency that 99.9 % of the wake-ups do not exceed, from the latest of them."""
    later = wake_ups // _TAIL_SHARE
    if not 0 < later < len(peak_ns):
        return None
    return int(np.partition(peak_ns, len(peak_ns) - 1 - later)[len(peak_ns) - 1 - later])


def _median(values: Int64s) -> int:
    return int(np.sort(values)[len(values) // 2])


def _half_findings(halves: Halves) -> Iterator[str]:
    if halves.p_value <= SIGNIFICANT:
        one, other = (format_ns(value) for value in halves.max_ns)
        yield (
            f"the halves differ: the latest wake-up of a part is {one} in the first, {other} in "
            f"the second (medians; p = {halves.p_value:.1g})"
        )
    if halves.misses_p_value is not None and halves.misses_p_value <= SIGNIFICANT:
        first, second = halves.misses
        yield (
            f"the halves differ: {first} misses in the first, {second} in the second "
            f"(p = {halves.misses_p_value:.1g})"
        )


def _change_findings(changes: tuple[Change, ...], digest: Digest) -> Iterator[str]:
    for change in changes:
        where = (
            format_clock(change.at_ns)
            if digest.period_ns > 0
            else f"activation {change.at_activation}"
        )
        yield (
            f"the latest wake-ups change at {where}: from {format_ns(change.before_ns)} to "
            f"{format_ns(change.after_ns)} (medians of the parts before and after it)"
        )


def _warm_finding(warm_up: WarmUp) -> Iterator[str]:
    if not warm_up.differs:
        return
    length = f" ({format_span(warm_up.duration_ns)})" if warm_up.duration_ns else ""
    without = warm_up.max_without_ns
    rest = "no wake-up" if without is None else f"a maximum of {format_ns(without)}"
    yield (
        f"the beginning differs: {warm_up.rule}{length} from the rest (p = "
        f"{warm_up.p_value:.1g}); maximum {format_ns(warm_up.max_ns)} and {warm_up.misses} misses "
        f"with it, {rest} and {warm_up.misses_without} misses without it"
    )
