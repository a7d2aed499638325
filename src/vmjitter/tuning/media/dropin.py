"""Small files that a program reads at its start, such as those in /etc/modprobe.d/."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vmjitter.effects.systree import SysTree

ABSENT = ""
"""The value of a file that does not exist."""


@dataclass(frozen=True)
class DropIn:
    """A place is a path, a value the whole content; without content the file does not exist."""

    tree: SysTree
    name: str = "drop-in"
    lasting: bool = True

    def read(self, place: str) -> str | None:
        """See `Medium.read`; a missing file is `ABSENT`."""
        try:
            return (self.tree.root / place.lstrip("/")).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ABSENT

    def write(self, place: str, value: str) -> None:
        """Replace the file at once, or remove it; see `Medium.write`."""
        path = self.tree.root / place.lstrip("/")
        if not value:
            path.unlink(missing_ok=True)
            return
        beside = path.with_name(f".{path.name}.tmp")
        with beside.open("w", encoding="utf-8") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def same(self, one: str, other: str) -> bool:
        """See `Medium.same`."""
        return one == other
