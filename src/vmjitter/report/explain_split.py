"""Where the time of late wake-ups went, scenario beside scenario: before and after.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vmjitter.report.explain import Explanation
from vmjitter.trace.attribute import Attribution
from vmjitter.trace.parties import CONTENTION, Party, parties


@dataclass(frozen=True, kw_only=True)
class PartyTime:
    """What one party had of a scenario's late wake-ups.

    Attributes:
        ns: in all of them; ``share`` of all their time.
        largest: in so many it had more than any other.
    """

    party: Party
    ns: int
    share: float
    largest: int


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """One scenario, its rounds together.

    Attributes:
        spikes: late wake-ups that were explained.
        latency_ns: all of their time.
        parties: every `Party`, in its order; their times sum to ``latency_ns``.
    """

    scenario: str
    spikes: int
    latency_ns: int
    parties: tuple[PartyTime, ...]

    @property
    def mean_ns(self) -> int:
        """Latency of a late wake-up, on average."""
        return round(self.latency_ns / self.spikes) if self.spikes else 0

    @property
    def contention(self) -> float:
        """The share that sharing the host took, as `vmjitter.trace.parties` has it."""
        return sum(one.share for one in self.parties if one.party in CONTENTION)

    def of(self, party: Party) -> PartyTime:
        """What one of them had."""
        return next(one for one in self.parties if one.party is party)


def split(explanation: Explanation) -> tuple[SplitRow, ...]:
    """One row per scenario that has late wake-ups and a trace, in the order of measurement."""
    spikes: dict[str, list[Attribution]] = {}
    for trial in explanation.trials:
        if trial.scene.recorded:
            spikes.setdefault(trial.trial.status.scenario, []).extend(trial.spikes)
    return tuple(_row(scenario, found) for scenario, found in spikes.items() if found)


def _row(scenario: str, spikes: Sequence[Attribution]) -> SplitRow:
    all_ns = sum(one.window.latency_ns for one in spikes)
    times: dict[Party, int] = dict.fromkeys(Party, 0)
    largest: dict[Party, int] = dict.fromkeys(Party, 0)
    for one in spikes:
        had = parties(one)
        for party, time_ns in had.items():
            times[party] += time_ns
        largest[max(Party, key=lambda party: had.get(party, 0))] += 1
    found = (
        PartyTime(party=party, ns=ns, share=ns / all_ns if all_ns else 0.0, largest=largest[party])
        for party, ns in times.items()
    )
    return SplitRow(scenario=scenario, spikes=len(spikes), latency_ns=all_ns, parties=tuple(found))
