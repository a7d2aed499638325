"""What a measurement is held against, and what an imported one cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vmjitter.errors import UsageError

DEFAULT_CONFIDENCE: Final = 95.0
_CONFIDENCES: Final = (50.0, 99.9999)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Deadline and how often it may be missed.

    Attributes:
        deadline_ns: a wake-up later than this is a miss; None if no deadline was given.
        max_misses_per_hour: more are not allowed; None: no number was given, any miss fails.
        confidence_percent: of each bound, one-sided, e.g. 95.0.
    """

    deadline_ns: int | None
    max_misses_per_hour: float | None = None
    confidence_percent: float = DEFAULT_CONFIDENCE


class Lack(StrEnum):
    """What the format of an imported result does not hold."""

    OVERRUNS = "missed activations"
    ORDER = "the order and times of the wake-ups"
    PERIOD = "the period"
    OVERFLOW = "latencies beyond the last bin"
    EXTREMES = "the maximum"


def checked(target: Target) -> Target:
    """Return the target if a measurement can meet it.

    Raises:
        UsageError: a deadline or rate that is not above zero, a rate without a deadline, or a
            confidence that makes no sense.
    """
    if target.deadline_ns is not None and target.deadline_ns <= 0:
        raise UsageError("the deadline must be longer than nothing", hint="write e.g. 5ms")
    rate = target.max_misses_per_hour
    if rate is not None and rate <= 0:
        raise UsageError(
            f"no finite measurement can show that there are at most {rate:g} misses per hour",
            hint="leave the number out: then any miss fails, and the rate that was shown is stated",
        )
    if rate is not None and target.deadline_ns is None:
        raise UsageError(
            "a number of misses needs a deadline that can be missed", hint="add e.g. --deadline 5ms"
        )
    low, high = _CONFIDENCES
    if not low <= target.confidence_percent <= high:
        raise UsageError(
            f"a confidence of {target.confidence_percent:g} % makes no sense here",
            hint=f"give a number between {low:g} and {high:g}, usually 95 or 99",
        )
    return target
