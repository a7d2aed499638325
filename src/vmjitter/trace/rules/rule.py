"""What every rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from vmjitter.trace.intervals import Interval, clip, without
from vmjitter.trace.scene import Guest, Scene
from vmjitter.trace.thread_states import Doing, State
from vmjitter.trace.window import Window


class Side(StrEnum):
    """Where a cause sits."""

    OBSERVER = "vmjitter itself"
    PROBE = "probe"
    GUEST = "guest"
    HOST = "host"
    QEMU = "QEMU"
    KVM = "KVM"
    BELOW = "below the kernel"


class Finding(NamedTuple):
    """A stretch of the window with its cause.

    Attributes:
        detail: who or what it was, for people; the same for the same.
    """

    start: int
    end: int
    detail: str


@dataclass(frozen=True)
class Look:
    """A wake-up in its scene, as a rule sees it.

    Attributes:
        host: events of the host may be set against the window: its alignment holds.
    """

    scene: Scene
    window: Window
    host: bool = True

    def states(self, *doings: Doing) -> Iterator[tuple[Interval, State]]:
        """The stretches of the window in which the thread did one of these, each with its state."""
        for state in self.scene.watched.within(self.window.interval):
            if state.doing in doings:
                part = clip((state.start, state.end), self.window.interval)
                if part is not None:
                    yield part, state

    @property
    def guest(self) -> Guest | None:
        """What the guest recorded; None if it did not record the time of this wake-up."""
        guest = self.scene.guest
        if guest is None or not guest.covers[0] <= self.window.start < guest.covers[1]:
            return None
        return guest

    def in_guest(self) -> list[Interval]:
        """When the guest may have run: all of the window but when the host says that it did not."""
        if not self.host:
            return [self.window.interval]
        other = set(Doing) - {Doing.GUEST, Doing.RUNNING, Doing.UNKNOWN}
        return without([self.window.interval], [part for part, _ in self.states(*other)])


Find = Callable[[Look], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A cause and how to see it.

    Attributes:
        cause: its name in JSON and on the command line.
        title: for people, without a full stop.
        side: where it sits.
        needs: each a set of events, of which at least one must have been recorded.
        crosses: it sets the host's events against the guest's clock.
        knobs: settings that act on it, the first one to be tried first.
        advice: what to do where there is no knob; empty if there is one.
        find: its stretches in a window; they may overlap each other and what other rules find.
    """

    cause: str
    title: str
    side: Side
    needs: tuple[frozenset[str], ...]
    find: Find
    crosses: bool = True
    knobs: tuple[str, ...] = ()
    advice: str = ""

    def lacks(self, names: frozenset[str]) -> list[str]:
        """What it needs and was not recorded."""
        return [" or ".join(sorted(group)) for group in self.needs if not group & names]


def needs(*groups: str) -> tuple[frozenset[str], ...]:
    """Write what a rule needs: one text per group, with alternatives separated by blanks."""
    return tuple(frozenset(group.split()) for group in groups)
