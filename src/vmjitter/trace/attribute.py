"""Where the time of one late wake-up went: split among causes, without overlap, to the last ns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vmjitter.trace.intervals import Interval, clip, total, union, without
from vmjitter.trace.rules import RULES, UNEXPLAINED
from vmjitter.trace.rules.rule import Look, Rule, Side
from vmjitter.trace.scene import Scene
from vmjitter.trace.window import Window

FLOOR_NS: Final = 10_000
"""What a cause took must be at least this, or the bound of the clocks, to be named."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch that a cause took."""

    start: int
    end: int
    detail: str


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one cause took of a wake-up.

    Attributes:
        cause: name of the rule, or `UNEXPLAINED`.
        ns: together.
        pieces: in the order of time, without overlap.
        details: ns of each detail, the largest first.
    """

    cause: str
    ns: int
    pieces: tuple[Piece, ...]
    details: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """One wake-up, explained as far as that can be.

    Attributes:
        shares: the largest first, `UNEXPLAINED` last and always there; they sum to the latency.
        small: causes that took too little to be named; their time is in `UNEXPLAINED`.
    """

    window: Window
    shares: tuple[Share, ...]
    small: tuple[Share, ...] = ()

    @property
    def main(self) -> Share:
        """What took most; `UNEXPLAINED` only if nothing else was named or it took most."""
        return max(self.shares, key=lambda share: share.ns)

    def of(self, cause: str) -> int:
        """What a cause took, in ns."""
        return sum(share.ns for share in self.shares if share.cause == cause)


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """A cause that cannot be seen in a trial, and why."""

    cause: str
    title: str
    why: str


def visible(
    names: frozenset[str], *, host: bool, rules: Sequence[Rule] = RULES
) -> tuple[tuple[Rule, ...], tuple[Unseen, ...]]:
    """Which rules can be asked, and which causes cannot be seen at all.

    Args:
        names: events that were recorded, as in `Scene.names`.
        host: the host's events may be set against the guest's clock.
        rules: in the order in which they decide.
    """
    usable: list[Rule] = []
    refused: dict[str, Unseen] = {}
    for rule in rules:
        lacks = rule.lacks(names)
        if lacks:
            why = f"not recorded: {', '.join(lacks)}"
        elif rule.crosses and not host:
            why = "the clocks of host and guest are not aligned"
        else:
            usable.append(rule)
            continue
        refused.setdefault(rule.cause, Unseen(cause=rule.cause, title=rule.title, why=why))
    seen = {rule.cause for rule in usable}
    return tuple(usable), tuple(one for cause, one in refused.items() if cause not in seen)


def attribute(
    scene: Scene, window: Window, rules: Iterable[Rule], *, host: bool = True
) -> Attribution:
    """Split one wake-up among the causes.

    Each rule gets what it finds of the time that no rule before it has taken.  A cause that took
    less than `FLOOR_NS`, or than the bound of the clocks, is not named.

    Args:
        scene: the trial.
        window: the wake-up.
        rules: in the order in which they decide, see `visible`.
        host: as there.
    """
    look = Look(scene, window, host)
    free: list[Interval] = [window.interval]
    taken: dict[str, list[Piece]] = {}
    for rule in rules:
        if not free:
            break
        if rule.side is not Side.PROBE and window.latency_ns < scene.bound_ns:
            continue
        pieces, free = _take(rule, look, free)
        taken.setdefault(rule.cause, []).extend(pieces)
    shares = [_share(cause, pieces) for cause, pieces in taken.items()]
    shares.sort(key=lambda share: (-share.ns, share.cause))
    least_ns = max(FLOOR_NS, scene.bound_ns)
    named = [share for share in shares if share.ns >= least_ns]
    small = tuple(share for share in shares if 0 < share.ns < least_ns)
    rest = without([window.interval], union((p.start, p.end) for s in named for p in s.pieces))
    return Attribution(window=window, shares=(*named, _unexplained(look, rest)), small=small)


def _take(rule: Rule, look: Look, free: list[Interval]) -> tuple[list[Piece], list[Interval]]:
    pieces: list[Piece] = []
    for finding in rule.find(look):
        part = clip((finding.start, finding.end), look.window.interval)
        if part is None:
            continue
        left = without(free, [part])
        got = without(free, left)
        pieces += [Piece(start=start, end=end, detail=finding.detail) for start, end in got]
        free = left
    return pieces, free


def _share(cause: str, pieces: list[Piece]) -> Share:
    details: dict[str, int] = {}
    for piece in pieces:
        details[piece.detail] = details.get(piece.detail, 0) + piece.end - piece.start
    return Share(
        cause=cause,
        ns=sum(details.values()),
        pieces=tuple(sorted(pieces, key=lambda piece: piece.start)),
        details=tuple(sorted(details.items(), key=lambda item: (-item[1], item[0]))),
    )


def _unexplained(look: Look, rest: list[Interval]) -> Share:
    """What is left, with where the thread was meanwhile: that much is known."""
    pieces: list[Piece] = []
    for interval in rest:
        known: list[Interval] = []
        for state in look.scene.watched.within(interval) if look.host else ():
            part = clip((state.start, state.end), interval)
            if part is not None:
                known.append(part)
                pieces.append(Piece(start=part[0], end=part[1], detail=str(state.doing)))
        for start, end in without([interval], known):
            pieces.append(Piece(start=start, end=end, detail="not recorded"))
    share = _share(UNEXPLAINED, pieces)
    if share.ns != total(rest):
        raise AssertionError("states of a thread overlap")
    return share
