"""From what a TOML file, a variable or a flag holds to a typed value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from vmjitter.errors import UsageError
from vmjitter.units import Ns, parse_duration, parse_size

E = TypeVar("E", bound=StrEnum)
Parse = Callable[[object], object]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest valid name, or lists them all when none is near."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are: {', '.join(names)}"


def text(value: object) -> str:
    """A string as it is."""
    if not isinstance(value, str):
        raise UsageError(f"{value!r} is not a text")
    return value


def duration(value: object) -> Ns:
    """A duration such as "1ms"."""
    return parse_duration(text(value))


def optional_duration(value: object) -> Ns | None:
    """A duration, or an empty text for none."""
    return duration(value) if value != "" else None


def number(value: object) -> float:
    """A number such as 95 or "0.5"; infinities and "nan" are none."""
    try:
        parsed = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        parsed = math.nan
    if isinstance(value, bool) or not math.isfinite(parsed):
        raise UsageError(f"{value!r} is not a number")
    return parsed


def optional_number(value: object) -> float | None:
    """A number, or an empty text for none."""
    return number(value) if value != "" else None


def size(value: object) -> int:
    """A size such as "1G", in bytes."""
    return parse_size(text(value))


def optional_path(value: object) -> Path | None:
    """A path, or an empty text for none."""
    return Path(text(value)).expanduser() if value != "" else None


def integer(lowest: int, highest: int) -> Parse:
    """A whole number between two limits."""

    def parse(value: object) -> int:
        number = value
        if isinstance(value, str) and value.removeprefix("-").isdecimal():
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool):
            raise UsageError(f"{value!r} is not a whole number")
        if not lowest <= number <= highest:
            raise UsageError(f"{number} is not between {lowest} and {highest}")
        return number

    return parse


def boolean(value: object) -> bool:
    """True or false."""
    words = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise UsageError(f"{value!r} is neither true nor false")


def choice(kind: type[E]) -> Parse:
    """One of an enumeration's values."""

    def parse(value: object) -> E:
        try:
            return kind(text(value))
        except ValueError:
            names = [member.value for member in kind]
            raise UsageError(
                f"{value!r} is not valid here", hint=nearest(str(value), names)
            ) from None

    return parse


def names(known: Iterable[str], what: str) -> Parse:
    """A list of known names; as a text, separated by commas."""
    valid = frozenset(known)

    def parse(value: object) -> tuple[str, ...]:
        items = value
        if isinstance(value, str):
            items = [item.strip() for item in value.split(",") if item.strip()]
        if not isinstance(items, list):
            raise UsageError(f"{value!r} is not a list of names")
        for item in items:
            if item not in valid:
                raise UsageError(f"there is no {what} {item!r}", hint=nearest(str(item), valid))
        return tuple(items)

    return parse


def texts(value: object) -> tuple[str, ...]:
    """A list of texts; as one text, separated by commas."""
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise UsageError(f"{value!r} is not a list of texts")
    return tuple(item for item in items if item)
