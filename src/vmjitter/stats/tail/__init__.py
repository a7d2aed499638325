"""How late the latest wake-ups of a longer time would be: a projection, or why there is none."""

from vmjitter.stats.tail.model import (
    Fit,
    Gate,
    HoldOut,
    Level,
    Projection,
    Threshold,
)
from vmjitter.stats.tail.projection import HORIZONS_NS, project

__all__ = [
    "HORIZONS_NS",
    "Fit",
    "Gate",
    "HoldOut",
    "Level",
    "Projection",
    "Threshold",
    "project",
]
