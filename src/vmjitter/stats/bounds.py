"""Exact one-sided confidence limits of a share and of a rate.

Both are found by inverting the tail of the counting distribution, so that they hold for every
number of misses, none included, and every number of activations:

* a share, k of N: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the
  case of the binomial", Biometrika 26 (1934);
* a mean number of events of which k were seen: Garwood, "Fiducial limits for the Poisson
  distribution", Biometrika 28 (1936).

With no miss the latter is -ln(1 - c), 3.0 at 95 % and 4.6 at 99 %: the rule of three, and the
constants of IEC 61508-7, Annex D, for operation without a failure.

The tails come from scipy.special; they are inverted here, by bisection down to neighbouring
floating point numbers, because its own inverses sometimes go astray where N is large: SciPy 1.17
gives 1.49e-8 for ``betaincinv(1000, 10**11 - 999, 0.05)``, which is 9.5e-9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy import special


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Lower and upper limit, each of which holds with the confidence that was asked for."""

    lower: float
    upper: float


def risk(confidence_percent: float) -> float:
    """How often a limit of this confidence may be wrong.

    Raises:
        ValueError: not between 0 and 100.
    """
    if not 0 < confidence_percent < 100:
        raise ValueError(f"a confidence of {confidence_percent} % is not between 0 and 100")
    return (100 - confidence_percent) / 100


def share_limits(count: int, of: int, *, confidence_percent: float) -> Limits:
    """Limits of the share of activations that miss, from ``count`` misses in ``of`` activations.

    The lower one is 0 without a miss, the upper one 1 if every activation missed.

    Raises:
        ValueError: more misses than activations, a negative number, or no confidence.
    """
    wrong = risk(confidence_percent)
    if not 0 <= count <= of:
        raise ValueError(f"{count} misses in {of} activations")
    return Limits(lower=_lowest_share(count, of, wrong), upper=_highest_share(count, of, wrong))


def _lowest_share(count: int, of: int, wrong: float) -> float:
    """The share at which so many misses or more are just as likely as ``wrong``."""
    if count == 0:
        return 0.0
    if count == of:
        return math.exp(math.log(wrong) / of)
    return _cross(lambda share: float(special.betainc(count, of - count + 1, share)) >= wrong, 1.0)


def _highest_share(count: int, of: int, wrong: float) -> float:
    """The share at which so many misses or fewer are just as likely as ``wrong``."""
    if count == of:
        return 1.0
    if count == 0:
        return -math.expm1(math.log(wrong) / of)
    return _cross(lambda share: float(special.betaincc(count + 1, of - count, share)) <= wrong, 1.0)


def mean_limits(count: int, *, confidence_percent: float) -> Limits:
    """Limits of the expected number of events in a measurement that saw ``count`` of them.

    Divided by the length of the measurement, they are limits of the rate.

    Raises:
        ValueError: a negative number, or no confidence.
    """
    wrong = risk(confidence_percent)
    if count < 0:
        raise ValueError(f"{count} events")
    if count == 0:
        return Limits(lower=0.0, upper=rule_of_three(confidence_percent))
    beyond = count + 20 * math.sqrt(count) + 40
    return Limits(
        lower=_cross(lambda mean: float(special.gammainc(count, mean)) >= wrong, beyond),
        upper=_cross(lambda mean: float(special.gammaincc(count + 1, mean)) <= wrong, beyond),
    )


def weighted_upper(total: int, squares: int, largest: int, *, confidence_percent: float) -> float:
    """Upper limit of the expected sum of sizes of events, for example of misses in episodes.

    M. P. Fay and E. J. Feuer, "Confidence intervals for directly standardized rates: a method based
    on the gamma distribution", Statistics in Medicine 16 (1997): events of each size are Poisson,
    and the limit is that of a gamma distribution with the mean and the variance that the sum has
    with one more event of the largest size.  If all sizes are equal it is their size times the
    limit of Garwood.

    Args:
        total: sum of the sizes that were seen; ``squares``: of their squares.
        largest: size of the largest event; 0 if there was none: then one to come has the size 1.
        confidence_percent: of the limit.

    Raises:
        ValueError: no confidence.
    """
    if not largest:
        return rule_of_three(confidence_percent)
    wrong = risk(confidence_percent)
    mean, variance = total + largest, squares + largest**2
    shape = mean**2 / variance
    beyond = shape + 20 * math.sqrt(shape) + 40
    reached = _cross(lambda value: float(special.gammaincc(shape, value)) <= wrong, beyond)
    return reached * variance / mean


def rule_of_three(confidence_percent: float) -> float:
    """Upper limit of the expected number of events when none was seen: 2.996 at 95 %."""
    return -math.log(risk(confidence_percent))


def _cross(reached: Callable[[float], bool], beyond: float) -> float:
    """The smallest number above 0 at which a monotone condition holds; it does at ``beyond``."""
    below = 0.0
    while below < (middle := (below + beyond) / 2) < beyond:
        if reached(middle):
            beyond = middle
        else:
            below = middle
    return beyond


def first(holds: Callable[[int], bool], after: int) -> int:
    """The smallest whole number above ``after`` at which a condition holds that then stays so."""
    low, high = after, after + 1
    while not holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
