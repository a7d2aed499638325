"""What a knob wants: a value in a place of a medium."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Change:
    """One value to be set.

    Attributes:
        medium: what kind of place it is: the name of a `Medium`.
        place: where, in the words of the medium: a path, or a thread.
        wanted: the value.
        title: the place as a reader knows it; empty if it says so itself.
        optional: the kernel may refuse it here and take it elsewhere, such as the CPUs of an
            interrupt that it manages itself; then the others are changed all the same.
    """

    medium: str
    place: str
    wanted: str
    title: str = ""
    optional: bool = False


def capped(changes: Iterable[Change], highest: int) -> tuple[Change, ...]:
    """The changes with real-time priorities of at most ``highest``."""
    return tuple(_capped(change, highest) for change in changes)


def _capped(change: Change, highest: int) -> Change:
    policy, _, priority = change.wanted.partition(" ")
    above = policy in {"fifo", "rr"} and int(priority) > highest
    return replace(change, wanted=f"{policy} {highest}") if above else change


class Medium(Protocol):
    """A kind of place that holds settings.  Values are texts."""

    @property
    def name(self) -> str:
        """As in the journal; never changes."""

    @property
    def lasting(self) -> bool:
        """Whether what is set there is still set after the machine's next start."""

    def read(self, place: str) -> str | None:
        """The value that is set now, or None if the place is gone.

        Raises:
            OSError: it exists but cannot be read.
        """

    def write(self, place: str, value: str) -> None:
        """Set a value.

        Raises:
            OSError: the kernel refuses, or the place is gone.
        """

    def same(self, one: str, other: str) -> bool:
        """Whether two texts mean the same value there."""
