"""What a measurement is held against, and what an imported one cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEFAULT_CONFIDENCE: Final = 95.0


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
