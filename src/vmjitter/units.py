"""Durations and sizes: text at the edges, integer nanoseconds and bytes inside."""

from __future__ import annotations

import re
from typing import Final, NewType

from vmjitter.errors import UsageError

Ns = NewType("Ns", int)
"""A time or a duration in integer nanoseconds."""

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000

_UNIT_NS: Final = {
    "ns": 1,
    "us": NS_PER_US,
    "µs": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86_400 * NS_PER_S,
}
_SPANS: Final = (("d", 86_400, 2), ("h", 3600, 1), ("min", 60, 1), ("s", 1, 1))
"""Unit, its seconds, and from how many of them on it is used."""

_UNIT_BYTES: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_duration(text: str) -> Ns:
    """Turn ``"1ms"``, ``"4m"`` or ``"1.5 s"`` into nanoseconds.

    Raises:
        UsageError: no number, no unit, or an unknown unit.
    """
    match = re.fullmatch(r"\s*(\d+)(?:\.(\d{1,9}))?\s*([a-zµ]+)\s*", text)
    if not match or match[3] not in _UNIT_NS:
        raise UsageError(
            f"{text!r} is not a duration",
            hint="write a number and a unit: ns, us, ms, s, m, h or d, e.g. 1ms",
        )
    unit = _UNIT_NS[match[3]]
    fraction = match[2] or "0"
    return Ns(int(match[1]) * unit + int(fraction) * unit // 10 ** len(fraction))


def parse_size(text: str) -> int:
    """Turn ``"1G"`` or ``"256M"`` into bytes.

    Raises:
        UsageError: no number, or an unknown unit.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([KMG]?)(?:i?B)?\s*", text)
    if not match:
        raise UsageError(f"{text!r} is not a size", hint="write e.g. 256M or 1G")
    return int(match[1]) * _UNIT_BYTES[match[2]]


def format_ns(value_ns: int) -> str:
    """Show a duration with two decimals in the unit that fits."""
    size = abs(value_ns)
    for unit, scale in (("s", NS_PER_S), ("ms", NS_PER_MS), ("µs", NS_PER_US)):
        if size >= scale:
            return f"{value_ns / scale:.2f} {unit}"
    return f"{value_ns} ns"


def format_clock(value_ns: int) -> str:
    """Show a longer time as ``m:ss`` or ``h:mm:ss``, rounded to the second."""
    seconds = round(value_ns / NS_PER_S)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def format_span(value_ns: int) -> str:
    """Show a long time with three digits in the unit that fits."""
    for unit, seconds, least in _SPANS:
        if abs(value_ns) >= least * seconds * NS_PER_S:
            return f"{value_ns / (seconds * NS_PER_S):.3g} {unit}"
    return format_ns(value_ns)
