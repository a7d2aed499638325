"""Tests of phases: are events spread evenly over a cycle, or do they keep to a part of it?

The statistics of X-ray and gamma-ray pulsar searches, where, too, single events arrive over a long
time and few of them belong to the pulse.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]

HARMONICS: Final = 20
"""The H-test looks at so many harmonics (de Jager et al. 1989)."""

PROFILE_BINS: Final = 64


def h_statistic(z2: Floats) -> Floats:
    """The statistic H = max(Z^2_m - 4m + 4), m = 1 ... 20: it needs no number of harmonics.

    Source: de Jager, Raubenheimer, Swanepoel, Astronomy & Astrophysics 221 (1989), p. 180.

    Args:
        z2: Z^2_1, Z^2_2, ... along the last axis.  Z^2_m is the power of the first m harmonics of
            the phases; spread evenly, they make it a chi-squared variable with 2m degrees of
            freedom (Buccheri et al., Astronomy & Astrophysics 128 (1983), p. 245).
    """
    best: Floats = (z2 - 4.0 * np.arange(z2.shape[-1])).max(axis=-1)
    return best


def stacked_h(events: Int64s, part: Int64s, parts: int, frequency: Floats) -> Floats:
    """H of folded events, summed over parts of the time whose phases need not agree.

    The phases are put into `PROFILE_BINS` bins first, so that one transform gives all harmonics.

    Args:
        events: places of the events, ascending; the unit is free.
        part: to which part each event belongs, 0 ... ``parts`` - 1.
        parts: into how many parts the time is divided.
        frequency: cycles per unit, as many as are to be tried.

    Returns:
        One sum for each frequency.
    """
    phase = np.outer(frequency, events)
    place = ((phase - np.floor(phase)) * PROFILE_BINS).astype(np.int64) % PROFILE_BINS
    row = np.arange(len(frequency))[:, None] * parts + part
    size = len(frequency) * parts
    profile = np.bincount((row * PROFILE_BINS + place).ravel(), minlength=size * PROFILE_BINS)
    profile = profile.reshape(size, PROFILE_BINS)
    power = np.abs(np.fft.rfft(profile, axis=1)[:, 1 : HARMONICS + 1]) ** 2
    z2 = np.cumsum(power, axis=1) * 2 / np.maximum(profile.sum(axis=1, keepdims=True), 1)
    total: Floats = np.where(profile.any(axis=1), h_statistic(z2), 0)
    summed: Floats = total.reshape(len(frequency), parts).sum(axis=1)
    return summed


def stacked_log_p(events: Int64s, part: Int64s, parts: int, frequency: Floats) -> Floats:
    """Logarithm of about how often evenly spread phases give such a `stacked_h` or a higher one.

    H has about an exponential law of mean 2.5 (de Jager, Büsching, Astronomy & Astrophysics 517
    (2010), L9), so a sum of them has a gamma law; this is Chernoff's limit of its tail, good enough
    to rank frequencies.  Arguments are those of `stacked_h`.
    """
    ratio = np.maximum(0.4 * stacked_h(events, part, parts, frequency) / parts, 1.0)
    limit: Floats = parts * (1 - ratio + np.log(ratio))
    return limit
