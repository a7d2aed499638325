"""Has the maximum settled?  Evidence that needs no model of the latencies.

If the trial was the same from its beginning to its end, every order of its wake-ups is as likely as
any other.  Then

* wake-up i is later than all before it, a *record*, with probability 1/i, independently of the
  other records: N wake-ups have 1 + 1/2 + ... + 1/N records on average, 13 for N = 240 000
  (A. Renyi, "Theorie des elements saillants d'une suite d'observations", 1962; N. Glick, "Breaking
  records and breaking boards", American Mathematical Monthly 85, 1978);
* the maximum lies anywhere with the same probability.

What is seen is held against both.  Neither test needs more than the records of the digest.  Equal
latencies (coarse resolution) make records fewer; the tests then find less, never more.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from vmjitter.stats.digest import Digest
from vmjitter.units import format_ns

WARM_UP: Final = Fraction(1, 100)
"""What counts as warm-up: the first hundredth of the activations, in every trial."""

END: Final = Fraction(1, 10)
"""Records in this last part of a trial are counted: 0.105 are expected."""

SIGNIFICANCE: Final = 0.01
_EXACT: Final = 2000
_MEANING: Final = (
    "a maximum is what was seen, not a bound: even if nothing changes, the next {count} "
    "activations have a later wake-up in one of two cases"
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """The running maximum after so many activations."""

    activations: int
    max_ns: int


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """The trial with its warm-up and without it.

    Attributes:
        rule: what is warm-up, as it was fixed for all trials.
        activations: so many at the beginning are.
        max_ns: of the whole trial; ``max_without_ns``: without the warm-up.
        misses: of the whole trial, overruns alone if there is no deadline; ``misses_without``:
            without the warm-up.
    """

    rule: str
    activations: int
    max_ns: int
    max_without_ns: int | None
    misses: int
    misses_without: int


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """How the maximum came about.

    Attributes:
        running: the running maximum after 1, 2, 5, 10, ... activations and at the end; it begins
            with the first wake-up.
        records: how often it grew, the first wake-up included.
        records_expected: how often it grows on average if nothing changes.
        records_p: how likely so many records or more are then.
        late_records: records in the last tenth; ``late_records_p`` likewise.
        max_ns: the maximum; ``last_record``: the activation, from 0, at which it was first seen.
        last_record_share: the part of the trial that was over then, from 0 to 1.
        early_p: how likely it is that the maximum is first seen so early if nothing changes.
        warm_up: the trial with and without its warm-up.
        settled: nothing suspicious was found.
        findings: a sentence for each thing that is suspicious.
        meaning: what a maximum means, settled or not.
    """

    running: tuple[Step, ...]
    records: int
    records_expected: float
    records_p: float
    late_records: int
    late_records_p: float
    max_ns: int
    last_record: int
    last_record_share: float
    early_p: float
    warm_up: WarmUp
    settled: bool
    findings: tuple[str, ...]
    meaning: str


def convergence(digest: Digest) -> Convergence | None:
    """Look at the running maximum of a trial.

    Returns:
        None if the order of the wake-ups is not known, or there are none.
    """
    if not digest.ordered or not len(digest.record_index):
        return None
    places, total = digest.record_index, digest.activations
    records, late = len(places), int((places >= total - int(END * total)).sum())
    share = (int(places[-1]) + 1) / total
    records_p = _so_many(records, digest.histogram.total)
    late_p = _poisson_or_more(late, _harmonic(total) - _harmonic(total - int(END * total)))
    early_p = _so_early(share, _times_seen(digest))
    warm_up = _warm_up(digest)
    findings = tuple(
        text
        for text, probability in (
            (_early_text(share, warm_up), early_p),
            (_late_text(late), late_p),
            (_many_text(records, digest.histogram.total), records_p),
        )
        if probability <= SIGNIFICANCE
    )
    return Convergence(
        running=_running(digest),
        records=records,
        records_expected=_harmonic(digest.histogram.total),
        records_p=records_p,
        late_records=late,
        late_records_p=late_p,
        max_ns=int(digest.record_ns[-1]),
        last_record=int(places[-1]),
        last_record_share=int(places[-1]) / total,
        early_p=early_p,
        warm_up=warm_up,
        settled=not findings,
        findings=findings,
        meaning=_MEANING.format(count=f"{total:,}".replace(",", " ")),
    )


def _running(digest: Digest) -> tuple[Step, ...]:
    places, values, total = digest.record_index, digest.record_ns, digest.activations
    counts = [digit * 10**power for power in range(len(str(total))) for digit in (1, 2, 5)]
    wanted = [count for count in counts if places[0] < count < total]
    ends = np.searchsorted(places, [*wanted, total]) - 1  # the last record before each
    return tuple(
        Step(activations=count, max_ns=int(values[end]))
        for count, end in zip([*wanted, total], ends, strict=True)
    )


def _harmonic(count: int) -> float:
    """1 + 1/2 + ... + 1/count."""
    return float(special.digamma(count + 1) + np.euler_gamma)


def _so_many(records: int, total: int) -> float:
    """Probability of so many records or more among ``total`` wake-ups in random order.

    Exact for the first `_EXACT` wake-ups.  The records after them, each with a probability below
    1/`_EXACT`, are taken as Poisson; the error is below the sum of these squares, 1/`_EXACT` (Le
    Cam 1960).
    """
    first = min(total, _EXACT)
    exact = _record_law(first)
    rest = _harmonic(total) - _harmonic(first)
    needed = records - np.arange(len(exact))
    tails = np.where(needed <= 0, 1.0, special.gammainc(np.maximum(needed, 1), max(rest, 0.0)))
    return min(1.0, float(np.dot(exact, tails)))


def _record_law(total: int) -> NDArray[np.float64]:
    """Probability of 0, 1, 2, ... records among ``total`` wake-ups in random order."""
    law = np.zeros(min(total, 100) + 1)
    law[0] = 1.0
    for place in range(1, total + 1):
        law[1:] = law[1:] * (1 - 1 / place) + law[:-1] / place
        law[0] *= 1 - 1 / place
    return law


def _poisson_or_more(count: int, mean: float) -> float:
    return 1.0 if count <= 0 else float(special.gammainc(count, mean))


def _times_seen(digest: Digest) -> int:
    """How many wake-ups have the maximum; several where the resolution is coarse."""
    return max(
        1, int(digest.histogram.count[digest.histogram.high_ns >= digest.record_ns[-1]].sum())
    )


def _so_early(share: float, times: int) -> float:
    """Probability that the first of ``times`` places lies within this share of the trial."""
    return 1.0 if share >= 1 else float(-np.expm1(times * np.log1p(-share)))


def _warm_up(digest: Digest) -> WarmUp:
    cut = -(-digest.activations * WARM_UP.numerator // WARM_UP.denominator)
    return WarmUp(
        rule="the first 1 % of the activations",
        activations=cut,
        max_ns=int(digest.record_ns[-1]),
        max_without_ns=_max_from(digest, cut),
        misses=len(digest.miss_index),
        misses_without=int((digest.miss_index >= cut).sum()),
    )


def _max_from(digest: Digest, cut: int) -> int | None:
    """The maximum from activation ``cut`` on; None if there is no wake-up."""
    later = digest.peak_ns[digest.peak_index >= cut]
    if len(later):  # the latest wake-ups of all: if one of them is there, it is the maximum
        return int(later.max())
    blocks = digest.blocks
    whole = blocks.max_ns[-(-cut // blocks.size) :]
    woken = whole[blocks.overruns[-(-cut // blocks.size) :] < blocks.size]
    return int(woken.max()) if len(woken) else None


def _early_text(share: float, warm_up: WarmUp) -> str:
    without = warm_up.max_without_ns
    rest = "" if without is None else f"; without {warm_up.rule} it is {format_ns(without)}"
    return (
        f"the maximum of {format_ns(warm_up.max_ns)} occurred within the first "
        f"{100 * share:.2g} % of the activations, as after a start (warm-up){rest}"
    )


def _late_text(late: int) -> str:
    return (
        f"the maximum grew {late} times in the last tenth, where 0.1 times are expected: it has "
        "not settled, and a longer measurement will show later wake-ups"
    )


def _many_text(records: int, total: int) -> str:
    return (
        f"the maximum grew {records} times, where {_harmonic(total):.1f} times are expected: "
        "latency rises in the course of the measurement, and the maximum has not settled"
    )
