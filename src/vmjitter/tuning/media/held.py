"""Requests that last as long as a descriptor is open (Documentation/power/pm_qos_interface.rst)."""

from __future__ import annotations

import os
import struct
from typing import Final

from vmjitter.effects.systree import SysTree

_S32: Final = struct.Struct("=i")


NO_REQUEST: Final = "no request"
"""The value of a device of which this process holds no descriptor."""


class Held:
    """A place is a device that takes a 32-bit number in microseconds.

    The value is our own request: what others hold at the same time ends with them, not with us.
    While we hold one, it reads as what is in force, which is the lowest of all requests.
    """

    name = "held"
    lasting = False

    def __init__(self, tree: SysTree) -> None:
        self._tree = tree
        self._held: dict[str, int] = {}

    def read(self, place: str) -> str | None:
        """See `Medium.read`."""
        path = self._tree.root / place.lstrip("/")
        if place not in self._held:
            return NO_REQUEST if path.exists() else None
        data = path.read_bytes()
        return str(_S32.unpack(data[: _S32.size])[0]) if len(data) >= _S32.size else data.decode()

    def write(self, place: str, value: str) -> None:
        """See `Medium.write`."""
        if place in self._held:
            os.close(self._held.pop(place))
        if value == NO_REQUEST:
            return
        handle = os.open(self._tree.root / place.lstrip("/"), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(handle, _S32.pack(int(value)))
        except BaseException:
            os.close(handle)
            raise
        self._held[place] = handle

    def same(self, one: str, other: str) -> bool:
        """See `Medium.same`."""
        return one == other
