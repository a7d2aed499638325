"""What every kind of disturbance says about itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vmjitter.inject.hands import Hands

Done = Sequence[tuple[str, int, int]]
"""Name of a kind, begin and end on the host's CLOCK_MONOTONIC, in the order of the beginnings."""


def _nothing(_hands: Hands, _length_ns: int) -> None:
    """Most kinds need no preparation."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind.

    Attributes:
        what: what it does, a few words.
        length_ns: unless another is asked for.
        causes: what `explain` may rightly call it, the names of its rules.
        beside: causes that come with it and whose time belongs to it, though neither is its name.
        inject: does it, and returns when the call is over; None if something in the guest does it.
        prepare: before the probe starts, for each length that is asked for.
        in_guest: a shell script for the guest, run before the probe starts, with the length and the
            distance of two disturbances in microseconds as its arguments; empty for none.
    """

    name: str
    what: str
    length_ns: int
    causes: frozenset[str]
    beside: frozenset[str] = frozenset()
    inject: Callable[[Hands, int], Done] | None = None
    prepare: Callable[[Hands, int], None] = _nothing
    in_guest: str = ""
