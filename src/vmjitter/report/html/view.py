"""The run as the page's sections see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from vmjitter.report.html.envelope import Envelope, of_digest, of_samples
from vmjitter.report.html.samples import FULL_ACTIVATIONS
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.digest import Digest
from vmjitter.store.samples import Int64s, LoadSeries
from vmjitter.units import NS_PER_MS, NS_PER_S, NS_PER_US, format_ns


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialView:
    """One trial.

    Attributes:
        number: its place in the run, from 0; it decides its colour everywhere.
        full: every one of its samples is in the page.
        name: of the trial, unlike every other one's.
    """

    result: TrialResult
    number: int
    full: bool
    name: str

    @property
    def digest(self) -> Digest:
        """What its latencies say."""
        return self.result.trial.digest

    @property
    def look(self) -> str:
        """The class that gives its lines their colour and dashes."""
        return f"c{self.number % 8}"

    @property
    def awake(self) -> bool:
        """Whether there is any wake-up to draw."""
        return self.digest.histogram.total > 0

    @property
    def ordered(self) -> bool:
        """Whether there is a series: times and order of the wake-ups are known."""
        return self.awake and self.digest.ordered and self.digest.period_ns > 0

    def load_begins_ns(self, load: LoadSeries) -> Int64s:
        """When each second of a load began, counted from the first planned wake-up.

        A load on the host side of a guest's trial goes by the host's clock, which the offset
        measured before the trial brings to the guest's.
        """
        status, samples = self.result.status, self.result.trial.samples
        offset = status.clock_before if load.side == "host" and status.where == "guest" else None
        ahead_ns = offset.offset_ns if offset else 0
        return np.asarray(load.second_ns + (ahead_ns - samples.t0_ns), np.int64)

    def envelope(self, columns: int) -> Envelope:
        """Extremes of its series."""
        if self.full:
            return of_samples(self.result.trial.latency_ns, columns)
        return of_digest(self.digest, columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class PageView:
    """The run and its trials."""

    result: RunResult
    trials: tuple[TrialView, ...]

    @property
    def awake(self) -> tuple[TrialView, ...]:
        """Trials that have a wake-up."""
        return tuple(trial for trial in self.trials if trial.awake)

    @property
    def ordered(self) -> tuple[TrialView, ...]:
        """Trials that have a series."""
        return tuple(trial for trial in self.trials if trial.ordered)

    @property
    def deadline_ns(self) -> int | None:
        """The deadline, if there is one."""
        return self.result.target.deadline_ns

    @cached_property
    def pair(self) -> tuple[TrialView, TrialView] | None:
        """The trials before and after, if both have wake-ups."""
        found = [self._first(name) for name in self.result.run.info.pair or ()]
        before, after = found if len(found) == 2 else (None, None)
        return (before, after) if before and after and before is not after else None

    def _first(self, scenario: str) -> TrialView | None:
        return next((t for t in self.awake if t.result.scenario == scenario), None)


def view_of(result: RunResult) -> PageView:
    """Number the trials and decide whose samples fit into the page, the shortest ones first."""
    room = FULL_ACTIVATIONS
    full: set[int] = set()
    by_length = sorted(enumerate(result.trials), key=lambda pair: pair[1].trial.samples.count)
    for place, trial in by_length:
        room -= trial.trial.samples.count
        if room < 0:
            break
        full.add(place)
    names = _distinct(trial.name for trial in result.trials)
    return PageView(
        result=result,
        trials=tuple(
            TrialView(result=trial, number=place, full=place in full, name=names[place])
            for place, trial in enumerate(result.trials)
        ),
    )


def _distinct(names: Iterable[str]) -> list[str]:
    """Names of which no two are the same."""
    taken: list[str] = []
    for name in names:
        again = sum(name == other for other in taken) + 1
        taken.append(name)
        if again > 1:
            taken[-1] = f"{name} ({again})"
    return taken


def grouped(count: int) -> str:
    """A count in groups of three digits that are not torn apart."""
    return f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def exact(value_ns: int | None) -> str:
    """A latency in the unit that fits, or a dash."""
    return (
        "\N{EN DASH}"
        if value_ns is None
        else format_ns(value_ns).replace(" ", "\N{NO-BREAK SPACE}")
    )


def setting(value_ns: int, *, space: str = "\N{NO-BREAK SPACE}") -> str:
    """A time that somebody chose: all its digits, and no more."""
    unit, word = next((ns, word) for ns, word in _UNITS if value_ns >= ns or ns == 1)
    return f"{value_ns / unit:.12g}{space}{word}"


_UNITS: Final = ((NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "µs"), (1, "ns"))


def plural(count: int, one: str, many: str) -> str:
    """A count with its word."""
    return f"{grouped(count)} {one if count == 1 else many}"
