"""Requests that last as long as a descriptor is open (Documentation/power/pm_qos_interface.rst)."""

from __future__ import annotations

import os
import struct
from typing import Final

from vmjitter.effects.systree import SysTree

_S32: Final = struct.Struct("=i")


class Held:
    """A place is a device that takes a 32-bit number in microseconds; it reads as what is in force.

    To write the value of before is to let go.
    """

    name = "held"
    lasting = False

    def __init__(self, tree: SysTree) -> None:
        self._tree = tree
        self._held: dict[str, tuple[int, str]] = {}

    def read(self, place: str) -> str | None:
        """See `Medium.read`."""
        try:
            data = (self._tree.root / place.lstrip("/")).read_bytes()
        except FileNotFoundError:
            return None
        return str(_S32.unpack(data[: _S32.size])[0]) if len(data) >= _S32.size else data.decode()

    def write(self, place: str, value: str) -> None:
        """See `Medium.write`."""
        if place in self._held:
            os.close(self._held.pop(place)[0])
            return
        handle = os.open(self._tree.root / place.lstrip("/"), os.O_RDWR | os.O_CLOEXEC)
        os.write(handle, _S32.pack(int(value)))
        self._held[place] = (handle, value)

    def same(self, one: str, other: str) -> bool:
        """See `Medium.same`."""
        return one == other
