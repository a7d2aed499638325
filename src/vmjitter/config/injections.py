"""Disturbances on purpose, as a plan writes them: "cpu-hog" or "cpu-hog=1ms"."""

from __future__ import annotations

from typing import Final

from vmjitter.config.parse import nearest, texts
from vmjitter.errors import UsageError
from vmjitter.inject.kinds import KINDS
from vmjitter.model.inject import Injection
from vmjitter.units import NS_PER_MS, Ns, parse_duration

_LONGEST_NS: Final = 100 * NS_PER_MS
"""A hog longer than that would starve whatever else the CPU has to do."""


def injections(value: object) -> tuple[Injection, ...]:
    """A list of kinds, each with its length behind "=" if that is not to be the usual one.

    Raises:
        UsageError: there is no such kind, or the length is none.
    """
    return tuple(map(_injection, texts(value)))


def _injection(text: str) -> Injection:
    name, _, length = text.partition("=")
    kind = KINDS.get(name)
    if kind is None:
        raise UsageError(f"there is no disturbance {name!r}", hint=nearest(name, KINDS))
    length_ns = parse_duration(length) if length else Ns(kind.length_ns)
    if not 0 < length_ns <= _LONGEST_NS:
        raise UsageError(f"{text!r} is not between 1ns and 100ms long", hint="write e.g. 2ms")
    return Injection(kind=name, length_ns=length_ns)
