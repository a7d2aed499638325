"""Which frequencies of a series of spikes deserve a closer look.

The power spectrum of the series (1 where a spike is, 0 elsewhere) has a line at a disturber's
frequency and at its harmonics.  It is taken at several resolutions, so that a long trial costs
little more than a short one, and over several parts of the time, so that a disturber whose phase
wanders is found, too.  Nothing is decided here: a candidate that is none fails the test of
`vmjitter.stats.folding`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from vmjitter.stats.folding import MIN_CYCLES, Candidate
from vmjitter.stats.phases import stacked_h

Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]

_BIN_STEP: Final = 8
_FEWEST_BINS: Final = 256
_MOST_BINS: Final = 1 << 17
_MOST_PARTS: Final = 16
_PICKS: Final = 3
_FEW: Final = 64
_NEIGHBOURS: Final = 8


class _Scale(NamedTuple):
    """A resolution of the spectrum.

    Attributes:
        width: activations per bin of the series.
        length: bins per part of the time.
        parts: how many parts the time has.
        harmonics: how many harmonics are added up, for narrow pulses.
        long: the trial is too long for one spectrum: of the parts those with most spikes must do.
    """

    width: int
    length: int
    parts: int
    harmonics: tuple[int, ...]
    long: bool


def candidates(events: Int64s, span: int) -> list[Candidate]:
    """Frequencies at which these spikes may keep to a period.

    Args:
        events: activations of the spikes, ascending.
        span: activations in which they were looked for.
    """
    found: list[Candidate] = []
    for scale in _scales(span):
        found += _lines(events, span, scale)
    if len(events) <= _FEW:
        found += _distances(events, span)
    return [one for one in found if MIN_CYCLES / span <= one.frequency <= 0.5]


def _scales(span: int) -> Iterator[_Scale]:
    width = 1
    partings: tuple[int, ...] = (1, 16, 128)
    harmonics: tuple[int, ...] = (1, 2)
    while span // width >= _FEWEST_BINS or width == 1:
        bins = -(-span // width)
        whole = -(-bins // _MOST_BINS)
        for parting in partings:
            parts = whole * parting
            if (length := -(-bins // parts)) >= _FEWEST_BINS or parting == 1:
                yield _Scale(width, length, parts, harmonics, whole > 1)
            if whole > 1:
                break  # the phase may wander between the parts already
        width *= _BIN_STEP
        partings, harmonics = ((1, 16) if width == _BIN_STEP else (1,)), (1, 4, 16)


def _lines(events: Int64s, span: int, scale: _Scale) -> list[Candidate]:
    power, step = _power(events, scale)
    lowest = max(1, int(MIN_CYCLES / span * scale.width / step))
    if lowest >= len(power):
        return []
    power = _whiten(power, lowest)
    found: list[Candidate] = []
    for harmonics in scale.harmonics:
        total = _add_harmonics(power, harmonics)
        total[: lowest * harmonics] = 0
        for place in _highest(total):
            frequency = place * step / harmonics / scale.width
            found.append(Candidate(float(frequency), scale.parts))
    return found


def _power(events: Int64s, scale: _Scale) -> tuple[Floats, float]:
    """The mean spectrum over the parts with the most events, and its step in cycles per bin."""
    place = events // scale.width
    part = place // scale.length
    count = np.bincount(part, minlength=scale.parts)
    busiest = count.argsort(kind="stable")[::-1]
    busiest = busiest[count[busiest] > 1]
    if scale.long:
        busiest = busiest[:_MOST_PARTS]
    finer = 1 if scale.long else 2  # twice the length: no frequency in between
    size = fft.next_fast_len(finer * scale.length, real=True)
    total = np.zeros(size // 2 + 1)
    for rows in np.array_split(busiest, -(-len(busiest) * size // (1 << 20)) or 1):
        series = np.zeros((len(rows), scale.length), np.float32)
        for row, wanted in enumerate(rows):
            np.add.at(series[row], place[part == wanted] - wanted * scale.length, 1)
        series -= series.mean(axis=1, keepdims=True)
        lines = np.abs(fft.rfft(series, size, axis=1)) ** 2
        total += (lines / count[rows, None]).sum(axis=0)
    return total / max(1, len(busiest)), 1 / size


def _whiten(power: Floats, lowest: int) -> Floats:
    """Divide by the median of the surroundings: bursts have more power at low frequencies."""
    edges = [lowest]
    while edges[-1] < len(power):
        edges.append(edges[-1] + min(1024, max(16, edges[-1])))
    edges[-1] = len(power)
    level = [np.median(power[low:high]) for low, high in pairwise(edges)]
    middle = (np.array(edges[1:]) + np.array(edges[:-1])) / 2
    floor = np.interp(np.arange(len(power)), middle, level)
    return power / np.maximum(floor, 1e-3)


def _add_harmonics(power: Floats, harmonics: int) -> Floats:
    """Power of the first harmonics together, by the place of the last of them."""
    total = power.copy()
    place = np.arange(len(power))
    for harmonic in range(1, harmonics):
        total += power[(place * harmonic + harmonics // 2) // harmonics]
    return total


def _highest(total: Floats) -> list[int]:
    """The highest peaks, each with its surroundings counted once."""
    found = [int(place) for place in np.argpartition(total, -min(len(total), 32))[-32:]]
    found.sort(key=lambda place: (-total[place], place))
    apart: list[int] = []
    for place in found:
        if total[place] > 0 and all(abs(place - other) > 4 for other in apart):
            apart.append(place)
    return apart[:_PICKS]


def _distances(events: Int64s, span: int) -> list[Candidate]:
    """For few spikes: the distances between near ones, and their halves and thirds."""
    lags = range(1, min(_NEIGHBOURS, len(events) - 1) + 1)
    distance = np.unique(np.concatenate([events[lag:] - events[:-lag] for lag in lags]))
    frequency = np.unique(np.outer(np.arange(1, 4), 1 / distance))
    frequency = frequency[(frequency >= MIN_CYCLES / span) & (frequency <= 0.5)]
    part = np.zeros(len(events), np.int64)
    h = stacked_h(events, part, 1, frequency)
    return [Candidate(float(frequency[place]), 1) for place in h.argsort(kind="stable")[::-1][:6]]
