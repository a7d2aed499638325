"""Periodic disturbers: which late wake-ups come by the clock, and whose clock it may be.

The latest wake-ups of a trial, at several thresholds, are searched for periods
(`vmjitter.stats.spectrum` proposes them, `vmjitter.stats.folding` decides).  A disturber that was
found is taken out, and the rest is searched again.  The digest is all that is needed, so a long
trial takes no longer than a short one.

Wake-ups sample their disturbers: one of frequency f looks the same as one of m / T - f or of
m / T + f, where T is the trial's own period and m a whole number (C. E. Shannon, Proceedings of the
IRE 37, 1949).  And one of which only every h-th occurrence falls on a wake-up looks h times as
slow.  So other periods belong to each that was found: its aliases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmjitter.stats.catalogue import CLOCKS_DIFFER, matching
from vmjitter.stats.digest import PEAKS, Digest
from vmjitter.stats.folding import (
    MIN_CYCLES,
    Candidate,
    Fold,
    fold,
    parts_of,
    regress,
    sharpen,
    start_of,
    width_of,
)
from vmjitter.stats.phases import stacked_log_p
from vmjitter.stats.spectrum import candidates
from vmjitter.units import NS_PER_MS, NS_PER_S, NS_PER_US, format_ns, format_span

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

FALSE_ALARM: Final = 0.01
"""At most in so many trials without a periodic disturber one is reported."""

SIGHTINGS: Final = 5
"""A period must have room for so many occurrences to be called visible."""

LEVELS: Final = (8, 32, 128, 512, 4096)
"""So many of the latest wake-ups are searched, one number after the other."""

_LIMIT: Final = math.log(FALSE_ALARM / len(LEVELS))
_FEWEST: Final = 4
_SHARE: Final = 4  # more than one wake-up of so many is no spike
_SHORTEST_SPAN: Final = 64
_PASSES: Final = 4
_MOST: Final = 8
_TRIED: Final = 12
_ALIKE: Final = 0.8
_FEW: Final = 40
_PARTS: Final = range(2, 6)
_MULTIPLES: Final = range(2, 13)
_WIDE: Final = 8  # windows narrower than this part of a cycle have neighbours
_ALIAS_ORDERS: Final = (1, 2)
_HARMONICS: Final = range(2, 11)
_ALIASES_NAMED: Final = 4
_WHOLE: Final = 1e-4
_LONGEST_WHOLE: Final = 100
_SAME: Final = 1e-6
_SHARE_OF_DELAY: Final = (
    0.25  # a disturber may delay a wake-up by more than it lasts, within reason
)
_VAGUE: Final = 0.02
_LOADS_DIFFER: Final = 0.01
_SMALLEST_P: Final = 1e-300


@dataclass(frozen=True, kw_only=True)
class Period:
    """A disturber that comes by the clock.

    Attributes:
        period_ns: from one occurrence to the next, as the wake-ups show it; see ``aliases_ns``.
        uncertainty_ns: the period is known to plus or minus this (two standard errors).
        phase_ns: planned time of the first wake-up that it makes late, counted from the first
            activation; None if the phase wanders in the course of the trial.
        strength: share of the cycles with a spike that meet the phase beyond chance, 0 to 1.
        p_value: how often chance alone would show any period as clearly, at most.
        spikes: late wake-ups that belong to it.
        occurrences: cycles in which there are any.
        cycles: cycles for which the trial had room.
        threshold_ns: spikes are wake-ups at least so late.
        max_ns: latency of the latest of them.
        aliases_ns: shorter periods that would look the same to wake-ups of this trial's period,
            longest first; those are left out in which a disturber is too short for its delay.
        matches: known disturbers that have this period, or one of the aliases.
    """

    period_ns: float
    uncertainty_ns: float
    phase_ns: float | None
    strength: float
    p_value: float
    spikes: int
    occurrences: int
    cycles: int
    threshold_ns: int
    max_ns: int
    aliases_ns: tuple[float, ...]
    matches: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Periodicity:
    """Which periods there are among the latest wake-ups, and which could have been seen.

    Attributes:
        found: the surest first.
        shortest_visible_ns: two periods of the trial; a shorter one is seen as an alias.
        longest_visible_ns: a longer one had no room for `SIGHTINGS` occurrences.
        false_alarm: highest probability that a trial without any has one among ``found``.
        findings: the same in sentences.
    """

    found: tuple[Period, ...]
    shortest_visible_ns: int
    longest_visible_ns: int
    false_alarm: float
    findings: tuple[str, ...]


class _Spikes(NamedTuple):
    """Late wake-ups: their activations, ascending, and their latencies."""

    activation: Int64s
    latency_ns: Int64s

    def above(self, threshold_ns: int) -> _Spikes:
        keep = self.latency_ns >= threshold_ns
        return _Spikes(self.activation[keep], self.latency_ns[keep])


class _Hit(NamedTuple):
    """A fold that is no chance, and from which latency on spikes were folded."""

    fold: Fold
    threshold_ns: int


def periods(digest: Digest, *, known: tuple[tuple[str, int], ...] = ()) -> Periodicity | None:
    """Find the periodic disturbers of a trial.

    Args:
        digest: of its latencies.
        known: further disturbers to match, such as the trial's own loads: names and periods in
            nanoseconds.

    Returns:
        None if the order of the wake-ups or the trial's period is not known.
    """
    if not digest.ordered or digest.period_ns <= 0:
        return None
    span = digest.activations
    hits = _search(_spikes(digest), span) if span >= _SHORTEST_SPAN else []
    found = tuple(_describe(hit, digest, known) for hit in hits)
    shortest_ns, longest_ns = 2 * digest.period_ns, span // SIGHTINGS * digest.period_ns
    return Periodicity(
        found=found,
        shortest_visible_ns=shortest_ns,
        longest_visible_ns=longest_ns,
        false_alarm=FALSE_ALARM,
        findings=(
            *(_sentence(one, digest.period_ns) for one in found),
            _reach(shortest_ns, longest_ns, any_found=bool(found)),
        ),
    )


def _spikes(digest: Digest) -> _Spikes:
    """The digest's peaks; the lowest ones are left out if equal ones may be missing."""
    all_peaks = _Spikes(digest.peak_index, digest.peak_ns)
    if len(digest.peak_ns) < PEAKS:
        return all_peaks
    return all_peaks.above(int(digest.peak_ns.min()) + 1)


def _search(spikes: _Spikes, span: int) -> list[_Hit]:
    """All disturbers, the surest first; each time the spikes of those before are left out."""
    found: list[_Hit] = []
    for _ in range(_PASSES):
        before = len(found)
        hits = _pass(spikes, span)
        while hits and len(found) < _MOST:
            best = hits.pop(0)
            events = spikes.above(best.threshold_ns).activation
            best = best._replace(fold=_root(events, span, best.fold))
            if not any(_left_behind(best.fold, other.fold, events) for other in found):
                found.append(best)
            spikes = _without(spikes, best.fold)
            hits = _still(hits, spikes, span)
        if len(found) == before:
            break
    return sorted(found, key=lambda hit: hit.fold.log_p)


def _pass(spikes: _Spikes, span: int) -> list[_Hit]:
    """What is no chance at each threshold, the surest first."""
    hits: list[_Hit] = []
    for threshold_ns in _thresholds(spikes, span):
        events = spikes.above(threshold_ns).activation
        trials = _best(candidates(events, span), events, span)
        hits += [_Hit(sharpen(events, span, trial), threshold_ns) for trial in trials]
    return _sure(hits)


def _thresholds(spikes: _Spikes, span: int) -> Iterator[int]:
    """Latencies that about as many wake-ups reach as `LEVELS` says, equal ones together."""
    descending = np.sort(spikes.latency_ns)[::-1]
    reached = 0
    for level in LEVELS:
        wanted = min(level, span // _SHARE, len(descending))
        if wanted < _FEWEST:
            return
        threshold_ns = int(descending[wanted - 1])
        count = int(np.searchsorted(-descending, -threshold_ns, side="right"))
        if reached < count <= min(2 * level, span // _SHARE):
            reached = count
            yield threshold_ns


def _best(trials: list[Candidate], events: Int64s, span: int) -> list[Candidate]:
    """Candidates that are worth the time, each frequency once.

    All if there are few spikes; else those whose phases are the least even.  Harmonics are about as
    uneven as their fundamental, which is why the slowest of those go first.
    """
    uneven = _unevenness(list(dict.fromkeys(trials)), events, span)
    alike = _ALIKE * min(uneven.values(), default=0.0)
    order = sorted(uneven, key=lambda trial: (uneven[trial] > alike, trial.frequency))
    slowest = order[: _TRIED // 2]
    order = slowest + sorted(uneven, key=lambda trial: uneven[trial])
    kept: list[Candidate] = []
    for trial in order:
        if not any(_close(trial, other, span) for other in kept):
            kept.append(trial)
    return kept if len(events) <= _FEW else kept[:_TRIED]


def _unevenness(trials: list[Candidate], events: Int64s, span: int) -> dict[Candidate, float]:
    """How unlikely the phases of each candidate are: logarithms, the lowest the least even."""
    found: dict[Candidate, float] = {}
    for parts in sorted({trial.parts for trial in trials}):
        same = [trial for trial in trials if trial.parts == parts]
        frequency = np.array([trial.frequency for trial in same])
        log_p = stacked_log_p(events, parts_of(events, span, parts), parts, frequency)
        found |= dict(zip(same, log_p.tolist(), strict=True))
    return found


def _close(one: Candidate, other: Candidate, span: int) -> bool:
    apart = abs(one.frequency - other.frequency) * span
    return one.parts == other.parts and apart < one.parts / 4


def _root(events: Int64s, span: int, best: Fold) -> Fold:
    """The same fold, or a surer one at a multiple or a part of its frequency, or of fewer parts."""
    ratios = (*(1 / part for part in _PARTS), *(float(multiple) for multiple in _MULTIPLES))
    trials = [Candidate(best.frequency * ratio, best.parts) for ratio in ratios]
    visible = [trial for trial in trials if MIN_CYCLES / span <= trial.frequency <= 0.5]
    best = min([best, *(sharpen(events, span, trial) for trial in visible)], key=_log_p)
    return _steadier(events, span, best)


def _steadier(events: Int64s, span: int, best: Fold) -> Fold:
    """A fold in fewer parts of the time, as long as the phase holds over longer ones.

    Fewer parts need a more exact frequency, which the phases within the parts give.
    """
    while best.parts > 1:
        line = regress(events, best)
        frequency = 1 / line.period if line else best.frequency
        now = sharpen(events, span, Candidate(min(frequency, 0.5), best.parts // 2))
        if now.log_p > best.log_p:
            break
        best = now
    return best


def _log_p(one: Fold) -> float:
    return one.log_p


def _still(hits: list[_Hit], spikes: _Spikes, span: int) -> list[_Hit]:
    """The same folds of the spikes that are left; without those that have become chance."""
    left: list[_Hit] = []
    for hit in hits:
        events = spikes.above(hit.threshold_ns).activation
        if len(events) >= _FEWEST:
            trial = Candidate(hit.fold.frequency, hit.fold.parts)
            left.append(_Hit(fold(events, span, trial, hit.fold.bins), hit.threshold_ns))
    return _sure(left)


def _sure(hits: list[_Hit]) -> list[_Hit]:
    """Those that are no chance, the surest first."""
    return sorted((one for one in hits if one.fold.log_p < _LIMIT), key=lambda one: one.fold.log_p)


def _without(spikes: _Spikes, found: Fold) -> _Spikes:
    """The spikes less those of a disturber, for a further search only.

    Above every latency the window keeps as many as it would hold by chance, going by the rest of
    the cycle: an empty window would look like a period in what is left, a full one like a harmonic.
    """
    margin = 1 if found.bins >= _WIDE else 0
    share = (2 * margin + 1) / found.bins
    order = np.lexsort((spikes.activation, -spikes.latency_ns))  # the latest first
    inside = found.inside(spikes.activation, margin)[order]
    allowed = np.rint(np.cumsum(~inside) * (share / (1 - share))).astype(np.int64)
    stays = _thinned(inside, allowed)
    latency_ns = spikes.latency_ns[order]
    # A disturber that meets every wake-up of its window leaves none with its usual latency.
    gone, rest = np.flatnonzero(~stays), np.flatnonzero(~inside)
    lacking = min(len(gone), int(allowed[-1]) - int(np.count_nonzero(stays & inside)))
    if lacking > 0 and len(rest):
        back = gone[np.linspace(0, len(gone) - 1, lacking).astype(np.int64)]
        lowest = np.linspace(len(rest) * (1 - lacking / allowed[-1]), len(rest) - 1, lacking)
        latency_ns[back] = latency_ns[rest[lowest.astype(np.int64)]]
        stays[back] = True
    left = np.argsort(order[stays])
    return _Spikes(spikes.activation[order[stays][left]], latency_ns[stays][left])


def _thinned(inside: Bools, allowed: Int64s) -> Bools:
    """Which spikes stay: all outside, and inside as many as are allowed up to each."""
    stays = ~inside
    kept = 0
    for place in np.flatnonzero(inside).tolist():
        if kept < allowed[place]:
            stays[place] = True
            kept += 1
    return stays


def _left_behind(one: Fold, earlier: Fold, events: Int64s) -> bool:
    """Whether a fold shows what an earlier disturber has left, at its frequency or a harmonic.

    A harmonic is left behind if its spikes keep to the earlier disturber's phase: those of a
    disturber of its own are in all cycles.
    """
    ratio = max(1, round(one.frequency / earlier.frequency))
    apart = abs(one.frequency - ratio * earlier.frequency)
    if apart * one.span > 2 * ratio * max(one.parts, earlier.parts):
        return False
    mine = events[one.inside(events)]
    near = earlier.inside(mine, earlier.bins // (4 * ratio))
    return ratio == 1 or float(near.mean()) > (1 + 1 / ratio) / 2


def _describe(hit: _Hit, digest: Digest, known: tuple[tuple[str, int], ...]) -> Period:
    spikes, found, unit_ns = _spikes(digest).above(hit.threshold_ns), hit.fold, digest.period_ns
    inside = found.inside(spikes.activation)
    line = regress(spikes.activation, found)
    period = line.period if line else 1 / found.frequency
    error = line.error if line else period / found.bins / max(1, found.cycles)
    seen = _Seen(period, 2 * error, unit_ns)
    start = start_of(spikes.activation, found, period) if found.parts == 1 else None
    least_ns = _SHARE_OF_DELAY * (hit.threshold_ns - _usual_ns(digest))
    share = width_of(spikes.activation, found) + 1 / period  # a place is known to an activation
    aliases = tuple(one for one in _aliases(seen) if one * share >= least_ns)
    return Period(
        period_ns=seen.period_ns,
        uncertainty_ns=seen.uncertainty_ns,
        phase_ns=None if start is None else start * unit_ns,
        strength=found.strength,
        p_value=min(1.0, max(_SMALLEST_P, math.exp(found.log_p) * len(LEVELS))),
        spikes=int(inside.sum()),
        occurrences=found.hits,
        cycles=max(found.hits, round(digest.activations / period)),
        threshold_ns=hit.threshold_ns,
        max_ns=int(spikes.latency_ns[inside].max()),
        aliases_ns=aliases,
        matches=tuple(_matches(seen, aliases, known)),
    )


def _usual_ns(digest: Digest) -> int:
    """The median latency."""
    median = digest.histogram.quantile(Fraction(1, 2))
    return median.value_ns if median else 0


class _Seen(NamedTuple):
    """A period and its uncertainty in activations, and how long an activation is."""

    period: float
    uncertainty: float
    unit_ns: int

    @property
    def period_ns(self) -> float:
        return self.period * self.unit_ns

    @property
    def uncertainty_ns(self) -> float:
        return self.uncertainty * self.unit_ns


def _aliases(seen: _Seen) -> list[float]:
    """Shorter periods in nanoseconds that look the same, longest first.

    Harmonics are those of a period that is a whole number of activations: then what happens between
    two wake-ups is never seen.  A long period is so only by chance, if its clock is another one.
    """
    frequency, whole = 1 / seen.period, round(seen.period)
    if whole <= _LONGEST_WHOLE and abs(seen.period - whole) <= max(seen.uncertainty, _WHOLE):
        beside = (order * whole + sign for order in _ALIAS_ORDERS for sign in (-1, 1))
        factors = {each for each in (*_HARMONICS, *beside) if math.gcd(each, whole) == 1}
        both = [each * frequency for each in factors]
    else:
        both = [order + sign * frequency for order in _ALIAS_ORDERS for sign in (-1, 1)]
    aliases: list[float] = []
    for alias_ns in sorted((seen.unit_ns / one for one in both), reverse=True):
        before_ns = aliases[-1] if aliases else seen.period_ns
        if alias_ns < before_ns * (1 - _SAME):
            aliases.append(alias_ns)
    return aliases


def _matches(
    seen: _Seen, aliases_ns: tuple[float, ...], known: tuple[tuple[str, int], ...]
) -> Iterator[str]:
    if seen.uncertainty > _VAGUE * seen.period:
        return
    yield from _names(seen.period_ns, seen.uncertainty_ns, known)
    for alias_ns in aliases_ns:
        # An error of the frequency is the same for all aliases.
        error_ns = seen.uncertainty_ns * (alias_ns / seen.period_ns) ** 2
        for name in _names(alias_ns, error_ns, known, exactly=True):
            yield f"{name}, if it is the alias {format_period(alias_ns)}"


def _names(
    period_ns: float,
    uncertainty_ns: float,
    known: tuple[tuple[str, int], ...],
    *,
    exactly: bool = False,
) -> Iterator[str]:
    for name, known_ns in known:
        margin = CLOCKS_DIFFER if exactly else _LOADS_DIFFER
        if abs(period_ns - known_ns) <= margin * known_ns + uncertainty_ns:
            yield name
    for one in matching(period_ns, uncertainty_ns, exactly=exactly):
        yield one.name


def format_period(period_ns: float) -> str:
    """Show a period with up to six digits: "999.9 µs", "10 s"."""
    for unit, scale in (("s", NS_PER_S), ("ms", NS_PER_MS), ("µs", NS_PER_US)):
        if period_ns >= scale * (1 - 1e-6):
            return f"{period_ns / scale:.6g} {unit}"
    return f"{period_ns:.6g} ns"


def _sentence(one: Period, unit_ns: int) -> str:
    phase = "its phase wanders"
    if one.phase_ns is not None:
        phase = f"first after {format_period(round(one.phase_ns / unit_ns, 1) * unit_ns)}"
    names = "; ".join(one.matches) or "none has this period"
    text = (
        f"every {format_period(one.period_ns)} (±{format_ns(math.ceil(one.uncertainty_ns))}, "
        f"{phase}): {one.spikes} wake-ups of {format_ns(one.threshold_ns)} to "
        f"{format_ns(one.max_ns)}, in {one.occurrences} of {one.cycles} cycles "
        f"(p = {one.p_value:.1g}); known disturbers: {names}"
    )
    if not one.aliases_ns:
        return text
    aliases = ", ".join(format_period(alias_ns) for alias_ns in one.aliases_ns[:_ALIASES_NAMED])
    return f"{text}; to a probe every {format_period(unit_ns)} it looks the same as {aliases}"


def _reach(shortest_ns: int, longest_ns: int, *, any_found: bool) -> str:
    if longest_ns <= shortest_ns or longest_ns <= 0:
        return "the trial is too short to show a period"
    what = "further period" if any_found else "period"
    return (
        f"no {what} among the latest wake-ups; this trial could show periods from "
        f"{format_period(shortest_ns)} to {format_span(longest_ns)}"
    )
