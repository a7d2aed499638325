"""Folding: do spikes keep to a period, by how much, and how sure is that?

Spikes are folded with a trial period: the cycle in which each falls, and its phase there.  In
spikes without a period each phase is met as often as any other.  The test counts in how many
cycles one narrow window of phase was met.  It counts cycles and not spikes, because spikes come in
bursts: a burst meets the window once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmjitter.stats.phases import stacked_h

Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_CYCLES: Final = 3
"""A period must have room for so many occurrences."""

MOST_BINS: Final = 1 << 16
_WINDOWS: Final = MOST_BINS.bit_length() - 1
_PARTINGS: Final = 4
_OFFSETS: Final = np.arange(-5, 6) / 10  # cycles over a part
_QUANTISATION: Final = 1 / 12  # variance of a place that is rounded to whole activations


class Candidate(NamedTuple):
    """A frequency worth a closer look.

    Attributes:
        frequency: cycles per activation.
        parts: the phase holds over a part of the time only, and there are so many.
    """

    frequency: float
    parts: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """Spikes folded with a period, and the window of phase that was met most often.

    Attributes:
        frequency: cycles per activation.
        span: activations in which spikes were looked for.
        parts: parts of the time with a window each.
        bins: the window is this part of a cycle: 1 / bins.
        shift: windows start at half of their width.
        window: number of the window in each part.
        hits: cycles with a spike in the window.
        cycles: cycles with any spike.
        chance: how often a cycle meets the window if there is no period.
        log_p: natural logarithm of the p-value's upper limit, corrected for all frequencies,
            phases and widths that could have been tried.
    """

    frequency: float
    span: int
    parts: int
    bins: int
    shift: int
    window: Int64s
    hits: int
    cycles: int
    chance: float
    log_p: float

    @property
    def strength(self) -> float:
        """Share of the cycles with a spike that meet the window beyond chance: 0 to 1."""
        return max(0.0, (self.hits / self.cycles - self.chance) / (1 - self.chance))

    def inside(self, events: Int64s, margin: int = 0) -> Bools:
        """Which of these spikes fall into the window, or into so many windows beside it."""
        key = _keys(events, self.frequency, self.bins, self.shift)
        window = self.window[parts_of(events, self.span, self.parts)]
        met: Bools = (key - window + margin) % self.bins <= 2 * margin
        return met


def parts_of(events: Int64s, span: int, parts: int) -> Int64s:
    """To which of equal parts of the time each event belongs."""
    return np.minimum(events // -(-span // parts), parts - 1)


def _keys(events: Int64s, frequency: float, bins: int, shift: int) -> Int64s:
    """Consecutive numbers of the windows in which events fall: cycle * bins + window."""
    keys: Int64s = np.floor(events * (frequency * bins) + shift / 2).astype(np.int64)
    return keys


def fold(events: Int64s, span: int, trial: Candidate, bins: int) -> Fold:
    """Fold events, and find the window of phase that is met most often.

    Args:
        events: activations of the spikes, ascending.
        span: activations in which they were looked for.
        trial: frequency, and parts of the time whose phases need not agree.
        bins: a window is this part of a cycle.
    """
    both = [_fold(events, span, trial, bins, shift) for shift in (0, 1)]
    return min(both, key=lambda one: one.log_p)


def _fold(events: Int64s, span: int, trial: Candidate, bins: int, shift: int) -> Fold:
    key = _keys(events, trial.frequency, bins, shift)
    part = parts_of(events, span, trial.parts)
    first = np.flatnonzero(np.diff(key, prepend=key[:1] - 1))  # a burst meets a window once
    key, part = key[first], part[first]
    cycle = key // bins
    met = np.bincount(part * bins + key - cycle * bins, minlength=trial.parts * bins)
    met = met.reshape(trial.parts, bins)
    window = met.argmax(axis=1)
    most = met[np.arange(trial.parts), window]
    hits, cycles = int(most.sum()), 1 + int(np.count_nonzero(np.diff(cycle)))
    # Cycles differ in how many windows they meet; the binomial distribution of the mean has the
    # longer tail (Hoeffding 1956).
    chance = min(1.0, len(key) / cycles * _share(trial.frequency, span, bins))
    trials = _log_trials(span, trial, bins, int(np.count_nonzero(most)))
    return Fold(
        frequency=trial.frequency,
        span=span,
        parts=trial.parts,
        bins=bins,
        shift=shift,
        window=window,
        hits=min(hits, cycles),
        cycles=cycles,
        chance=chance,
        log_p=min(0.0, log_tail(min(hits, cycles), cycles, chance) + trials),
    )


def _share(frequency: float, span: int, bins: int) -> float:
    """The largest share of all activations that a window can hold.

    It is 1 / bins, or more: a window that is 1.25 activations wide may hold two in every cycle.  A
    width of n + x activations holds n + 1 only if the window starts less than x before one.  From
    cycle to cycle the start moves by bins * x (modulo 1), so that if this is less than 1 it occurs
    at most once in 1 / (bins * x) cycles, and once or twice in any case.
    """
    width = 1 / (frequency * bins)
    whole = math.floor(width + 1e-9)
    more = min(1.0, max(0.0, bins * (width - whole)) + 2 / (frequency * span))
    return max(1.0, (whole + more) / width) / bins


def log_tail(hits: int, cycles: int, chance: float) -> float:
    """Logarithm of an upper limit of the probability of so many hits or more.

    Chernoff's limit of the binomial tail; Hoeffding, Journal of the American Statistical
    Association 58 (1963), theorem 1.
    """
    share = hits / cycles
    if share <= chance:
        return 0.0
    miss = (1 - share) * math.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return -cycles * (share * math.log(share / chance) + miss)


def _log_trials(span: int, trial: Candidate, bins: int, parts: int) -> float:
    """Logarithm of how many different folds there are to choose from (Bonferroni).

    Each octave of frequency gets the same weight.  Two frequencies differ if they move an event at
    the end of a part by half a window against one at its start; windows start at every half of
    their width, in each part with spikes independently.
    """
    frequencies = max(1.0, trial.frequency * span / trial.parts * 2 * bins)
    octaves = max(1.0, math.log2(span))
    return (
        math.log(frequencies)
        + math.log(2)
        + parts * math.log(bins)
        + math.log(octaves * _WINDOWS * _PARTINGS)
    )


def sharpen(events: Int64s, span: int, rough: Candidate) -> Fold:
    """The surest fold near a frequency: first along the H-test, then with narrower windows.

    Args:
        events: activations of the spikes, ascending; at least two.
        span: activations in which they were looked for.
        rough: a frequency that is right to half a cycle over a part of the time.
    """
    best: Fold | None = None
    trial = _climb(events, span, rough)
    for bins in _widths(trial.frequency, trial.parts):
        now = fold(events, span, trial, bins)
        straight = _straighten(events, now)
        if straight is not None:
            now = min(now, fold(events, span, straight, bins), key=lambda one: one.log_p)
            trial = Candidate(now.frequency, now.parts)
        if best is None or now.log_p < best.log_p:
            best = now
        elif now.hits * 3 < best.hits:
            break  # narrower windows lose what they should hold
    assert best is not None
    return best


def _widths(frequency: float, parts: int) -> list[int]:
    """Windows of a half, a quarter ... of a cycle, down to one activation."""
    most = min(MOST_BINS, max(2, int(1 / frequency)), max(2, (1 << 17) // parts))
    return [1 << power for power in range(1, most.bit_length()) if 1 << power <= most]


def _climb(events: Int64s, span: int, rough: Candidate) -> Candidate:
    part = parts_of(events, span, rough.parts)
    around = rough.frequency + _OFFSETS * (rough.parts / span)
    around = around[(around >= MIN_CYCLES / span) & (around <= 0.5)]
    if not len(around):
        return rough
    h = stacked_h(events, part, rough.parts, around)
    return Candidate(float(around[int(np.argmax(h))]), rough.parts)


def _straighten(events: Int64s, now: Fold) -> Candidate | None:
    """The frequency that the spikes in the window give; None if they are too few to tell."""
    line = regress(events, now)
    if line is None or not MIN_CYCLES / now.span <= 1 / line.period <= 0.5:
        return None
    return Candidate(1 / line.period, now.parts)


class Line(NamedTuple):
    """A period from a regression, in activations, and its standard error."""

    period: float
    error: float


def regress(events: Int64s, now: Fold) -> Line | None:
    """The period of the spikes in the window: their places against their cycles' numbers.

    One slope for all parts, each part with a start of its own.  A place is known to one
    activation only, so that much scatter is always assumed.
    """
    kept = events[now.inside(events)]
    part = parts_of(kept, now.span, now.parts)
    cycle = _keys(kept, now.frequency, now.bins, now.shift) // now.bins
    count = np.maximum(np.bincount(part, minlength=now.parts), 1)
    x = cycle - (np.bincount(part, cycle, now.parts) / count)[part]
    y = kept - (np.bincount(part, kept, now.parts) / count)[part]
    spread = float(x @ x)
    if len(kept) < 3 or spread == 0:
        return None
    period = float(x @ y) / spread
    free = max(1, len(kept) - len(np.unique(part)) - 1)
    residual = y - period * x
    variance = max(float(residual @ residual) / free, _QUANTISATION)
    return Line(period, math.sqrt(variance / spread)) if period > 0 else None


def start_of(events: Int64s, now: Fold, period: float) -> float:
    """The place of the first occurrence, 0 to ``period``, of a fold in one part.

    Args:
        events: activations of the spikes, ascending.
        now: their fold; some of them are in its window.
        period: in activations.
    """
    kept = events[now.inside(events)]
    cycle = _keys(kept, now.frequency, now.bins, now.shift) // now.bins
    start = float(np.median(kept - cycle * period))
    return max(0.0, (start + 0.5) % period - 0.5)


def width_of(events: Int64s, now: Fold) -> float:
    """About the share of a cycle in which spikes are more frequent than elsewhere.

    The arc around the middle of the window that holds most spikes beyond an even spread.  It can be
    wider than the window: a window is narrow if cycles are few, even where spikes are everywhere.
    """
    middle = (now.window + (1 - now.shift) / 2) / now.bins
    phase = events * now.frequency - middle[parts_of(events, now.span, now.parts)]
    distance = np.sort(np.abs(phase - np.rint(phase)))
    beyond = np.arange(1, len(distance) + 1) / len(distance) - 2 * distance
    return 2 * float(distance[int(beyond.argmax())])
