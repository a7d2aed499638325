"""Files of the kernel under /sys and /proc that hold one setting each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vmjitter.effects.systree import SysTree

_ANYBODY_WRITES: Final = 0o222
_EMPTY_GROUP: Final = re.compile(r"0+,(?=[0-9a-f]{8}(,|$))")
"""Of a bit mask, lib/vsprintf.c in Linux: all groups but the first have eight digits."""

_LEADING_ZEROS: Final = re.compile(r"^0+(?=[0-9a-f])")


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


def read_only(tree: SysTree, path: str) -> bool:
    """Whether nobody may write to a file, not even root; access(2) lets root write to any."""
    try:
        return not (tree.root / path.lstrip("/")).stat().st_mode & _ANYBODY_WRITES
    except OSError:
        return False


def chosen(text: str) -> str:
    """The choice that is marked with brackets, or all of the text."""
    mark = re.search(r"\[(\S+)\]", text)
    return mark[1] if mark else text


def same_value(one: str, other: str) -> bool:
    """Whether two texts of a file mean the same.

    The kernel writes several numbers with tabs in between, and bit masks in groups of 32 bits with
    leading zeros; a list of CPUs such as "0,2" is no mask.
    """
    return _plain(one) == _plain(other)


def _plain(text: str) -> str:
    words = " ".join(text.split())
    while _EMPTY_GROUP.match(words):
        words = words.partition(",")[2]
    return _LEADING_ZEROS.sub("", words)
