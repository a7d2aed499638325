"""Files of the kernel under /sys and /proc that hold one setting each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmjitter.effects.systree import SysTree


@dataclass(frozen=True)
class File:
    """A place is a path.

    Files that list every choice and mark the chosen one, such as "always [madvise] never", are read
    as the chosen one.
    """

    tree: SysTree
    name: str = "file"
    lasting: bool = False

    def read(self, place: str) -> str | None:
        """See `Medium.read`."""
        text = self.tree.read(place)
        return None if text is None else chosen(text)

    def write(self, place: str, value: str) -> None:
        """See `Medium.write`."""
        self.tree.write(place, value)

    def same(self, one: str, other: str) -> bool:
        """See `Medium.same`."""
        return same_value(one, other)


def chosen(text: str) -> str:
    """The choice that is marked with brackets, or all of the text."""
    mark = re.search(r"\[(\S+)\]", text)
    return mark[1] if mark else text


def same_value(one: str, other: str) -> bool:
    """Whether two texts of a file mean the same: bit masks may have leading zeros."""
    return _plain(one) == _plain(other)


def _plain(text: str) -> str:
    words = re.split(r"[\s,]+", text.strip())
    return ",".join(word.lstrip("0") or "0" for word in words).lstrip("0,") or "0"
