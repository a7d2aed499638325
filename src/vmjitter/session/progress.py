"""What a running trial tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of one trial at one moment.

    Attributes:
        phase: what it is doing, e.g. "boot" or "measure".
        recorded: activations taken so far, of ``loops``.
        current_ns: latency of the latest wake-up, or None before the first.
        worst_ns: largest latency so far, or None before the first wake-up.
        rates: operations in the last whole second, by load.
        speed: seconds of the guest's world per second of ours, below 1 in a simulated host; 0 if
            not known yet.
        round: of its scenario, see `vmjitter.model.plan.Turn`.
    """

    scenario: str
    phase: str
    loops: int
    period_ns: int
    recorded: int = 0
    current_ns: int | None = None
    worst_ns: int | None = None
    overruns: int = 0
    elapsed_ns: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    speed: float = 1.0
    round: int = 0

    @property
    def name(self) -> str:
        """The scenario, and its round where there are several."""
        return f"{self.scenario} #{self.round}" if self.round else self.scenario

    @property
    def remaining_ns(self) -> int:
        """Time until the last activation, if none is late."""
        return max(0, self.loops - self.recorded) * self.period_ns


Report = Callable[[Progress], None]
