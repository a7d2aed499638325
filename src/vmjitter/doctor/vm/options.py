"""QEMU's command line, taken apart again (qemu(1); docs/interop and "keyval" in its manual)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_BARE = frozenset({"nodefaults", "no-user-config", "no-reboot", "no-shutdown", "enable-kvm", "S"})
"""Options without a value that may stand before a word that is not an option."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option and its value.

    Attributes:
        name: without dashes.
        text: the value as it stands.
        first: its first word if that has no "=", such as the driver of a device.
        keys: its other words; of JSON, nested keys are joined by dots.
    """

    name: str
    text: str
    first: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def driver(self) -> str:
        """What a device, an object or a block node is."""
        return self.first or next(
            (self.keys[key] for key in ("driver", "qom-type", "type") if key in self.keys), ""
        )

    def __str__(self) -> str:
        return f"-{self.name} {self.text}".rstrip()


def parse(argv: Sequence[str]) -> tuple[Option, ...]:
    """All options of a command line, the program itself left out."""
    return tuple(_parse(argv[1:]))


def _parse(words: Sequence[str]) -> Iterator[Option]:
    at = 0
    while at < len(words):
        name = words[at].lstrip("-")
        if not words[at].startswith("-"):
            yield Option(name="", text=words[at])
            at += 1
            continue
        bare = name in _BARE or at + 1 == len(words) or words[at + 1].startswith("-")
        yield _option(name, "" if bare else words[at + 1])
        at += 1 if bare else 2


def _option(name: str, text: str) -> Option:
    if text.startswith("{"):
        try:
            keys = dict(_flat(json.loads(text)))
        except ValueError:
            return Option(name=name, text=text)
        return Option(name=name, text=text, keys=keys)
    # a comma in a value is written twice
    parts = [part.replace(",,", ",") for part in re.split(r"(?<!,),(?!,)", text)]
    first = parts[0] if "=" not in parts[0] else ""
    keys = {key: value for key, _, value in (part.partition("=") for part in parts) if key != first}
    return Option(name=name, text=text, first=first, keys=keys)


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, bool):
        yield prefix, "on" if value else "off"
    else:
        yield prefix, str(value)
