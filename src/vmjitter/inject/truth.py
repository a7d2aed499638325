"""What is true of a disturbed wake-up, and whether an explanation says it.  Pure.

A disturbance takes of a wake-up at most the time that it shares with it, and at least the part of
that which no other disturbance shares as well: where two overlap, either may be what delayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from vmjitter.inject.kinds import KINDS
from vmjitter.inject.log import Row
from vmjitter.trace.intervals import Interval, clip, total, union, without

TOLERANCE_NS: Final = 20_000
TOLERANCE_SHARE: Final = 0.1
"""A time is right if it is within the larger of both."""

_MATTERS: Final = 0.1
"""Of the wake-up's latency: a kind that took less is not part of its label."""


class Taken(NamedTuple):
    """What a kind can have taken of a wake-up, in ns."""

    least: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One disturbed wake-up.

    Attributes:
        label: the kinds that mattered, the one that took most first, joined by " + ".
        named: the largest cause in the explanation.
        named_rightly: it is one that fits a kind that may have taken most; two kinds whose times
            are nearer to each other than a time must be right are equals.
        error_ns: by how much the time of the kind that took most is wrong, negative if it is too
            short.
        error_allowed_ns: how much may be.
    """

    label: str
    named: str
    named_rightly: bool
    error_ns: int
    error_allowed_ns: int

    @property
    def time_right(self) -> bool:
        """Whether the time is near enough."""
        return abs(self.error_ns) <= self.error_allowed_ns


def taken(window: Interval, rows: Iterable[Row]) -> dict[str, Taken]:
    """What each kind can have taken of a wake-up; only kinds that share time with it.

    Args:
        window: planned and actual time, on the clock of the rows.
        rows: all disturbances of the trial, in any order.
    """
    shared: dict[str, list[Interval]] = {}
    for row in rows:
        part = clip((row.begin_ns, row.end_ns), window)
        if part is not None:
            shared.setdefault(row.kind, []).append(part)
    found = {}
    for kind, parts in shared.items():
        others = union(part for other, more in shared.items() if other != kind for part in more)
        own = union(parts)
        found[kind] = Taken(least=total(without(own, others)), most=total(own))
    return found


def judge(window: Interval, causes: Mapping[str, int], rows: Iterable[Row]) -> Verdict | None:
    """Compare an explanation with what was done.

    Args:
        window: planned and actual time, on the clock of the rows.
        causes: ns of each cause in the explanation; the unexplained is one of them.
        rows: as for `taken`.

    Returns:
        None if disturbances do not cover at least half of the wake-up's latency: it was late for
        another reason.
    """
    rows = list(rows)
    latency_ns = window[1] - window[0]
    free = without([window], union((row.begin_ns, row.end_ns) for row in rows))
    if 2 * total(free) > latency_ns:
        return None
    truth = taken(window, rows)
    order = sorted(truth, key=lambda kind: (-truth[kind].most, kind))
    first = order[0]
    named = max(causes, key=lambda cause: (causes[cause], cause))
    allowed_ns = max(TOLERANCE_NS, round(TOLERANCE_SHARE * truth[first].most))
    fitting = {kind for kind in order if truth[kind].most + allowed_ns >= truth[first].least}
    kind = KINDS[first]
    found_ns = sum(causes.get(cause, 0) for cause in kind.causes | kind.beside)
    return Verdict(
        label=" + ".join(_mattered(order, truth, latency_ns)),
        named=named,
        named_rightly=any(named in KINDS[kind].causes for kind in fitting),
        error_ns=_outside(found_ns, truth[first]),
        error_allowed_ns=allowed_ns,
    )


def _mattered(order: Sequence[str], truth: Mapping[str, Taken], latency_ns: int) -> Iterable[str]:
    least_ns = _MATTERS * latency_ns
    return (kind for place, kind in enumerate(order) if not place or truth[kind].most >= least_ns)


def _outside(found_ns: int, allowed: Taken) -> int:
    return found_ns - min(max(found_ns, allowed.least), allowed.most)
