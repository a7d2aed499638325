"""Causes of all late wake-ups together, compared with ordinary ones of the same trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vmjitter.trace.attribute import Attribution
from vmjitter.trace.rules import UNEXPLAINED

LEAST: Final = 2.0
"""A cause that is not at least so much more often, or longer, is there anyway."""


@dataclass(frozen=True, kw_only=True)
class CauseRow:
    """One cause over all late wake-ups.

    Attributes:
        spikes: late wake-ups in which it was named, ``share`` of all.
        ns: its time in all of them, ``time_share`` of all their time.
        worst_ns: the most that it took of one; ``worst_activation``: of which.
        example: the detail that took most of its time.
        controls: ordinary wake-ups in which it was named.
        lift: share in late wake-ups by share in ordinary ones; None if no ordinary one has it.
        lift_at_least: the same as if one ordinary wake-up more had it; None without ordinary ones.
        longer: mean time of it in late wake-ups by that in ordinary ones, 0 for those without it;
            None if no ordinary one has it.
    """

    cause: str
    spikes: int
    share: float
    ns: int
    time_share: float
    worst_ns: int
    worst_activation: int
    example: str
    controls: int
    lift: float | None
    lift_at_least: float | None
    longer: float | None

    @property
    def ordinary(self) -> bool:
        """Ordinary wake-ups have it about as often and as long: it is not what made them late."""
        return (
            self.lift is not None
            and self.lift < LEAST
            and self.longer is not None
            and self.longer < LEAST
        )


def table(spikes: Sequence[Attribution], controls: Sequence[Attribution]) -> tuple[CauseRow, ...]:
    """One row per cause, the one with most time first, what is unexplained last and always."""
    causes = {share.cause for one in spikes for share in one.shares} | {UNEXPLAINED}
    rows = [_row(cause, spikes, controls) for cause in causes]
    return tuple(sorted(rows, key=lambda row: (row.cause == UNEXPLAINED, -row.ns, row.cause)))


def _row(cause: str, spikes: Sequence[Attribution], controls: Sequence[Attribution]) -> CauseRow:
    with_it = [one for one in spikes if one.of(cause) > 0]
    beside = sum(1 for one in controls if one.of(cause) > 0)
    beside_ns = sum(one.of(cause) for one in controls)
    share = len(with_it) / len(spikes) if spikes else 0.0
    time_ns = sum(one.of(cause) for one in with_it)
    all_ns = sum(one.window.latency_ns for one in spikes)
    worst = max(with_it, key=lambda one: (one.of(cause), -one.window.activation), default=None)
    ordinary = len(controls)
    return CauseRow(
        cause=cause,
        spikes=len(with_it),
        share=share,
        ns=time_ns,
        time_share=time_ns / all_ns if all_ns else 0.0,
        worst_ns=worst.of(cause) if worst else 0,
        worst_activation=worst.window.activation if worst else -1,
        example=_example(cause, with_it),
        controls=beside,
        lift=share * ordinary / beside if beside else None,
        lift_at_least=share * (ordinary + 1) / (beside + 1) if ordinary else None,
        longer=time_ns * ordinary / (len(spikes) * beside_ns) if beside_ns and spikes else None,
    )


def _example(cause: str, attributions: Sequence[Attribution]) -> str:
    """The detail with most time over all of them."""
    details: dict[str, int] = {}
    for one in attributions:
        for share in one.shares:
            if share.cause == cause:
                for detail, ns in share.details:
                    details[detail] = details.get(detail, 0) + ns
    return min(details, key=lambda detail: (-details[detail], detail), default="")
