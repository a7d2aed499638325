"""One parser per source: each takes lines and fails on none; what it cannot read, it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vmjitter.trace.events import Event


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a parser made of its source.

    Attributes:
        events: as they were written.
        seen: how often each event was there, by the name that the source uses.
        unknown: of these, those that no rule needs.
        broken: lines that are cut or not of the format.
        lost: events that the source itself says are missing.
        first_broken: the first such line, with its number from 1; empty if there is none.
    """

    events: list[Event]
    seen: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    lost: int = 0
    first_broken: str = ""
