"""Requests to the kernel that last as long as a descriptor is open."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

from vmjitter.effects.systree import SysTree

_S32: Final = struct.Struct("=i")


NO_REQUEST: Final = "no request"
"""The value of a place of which this process holds no descriptor."""

STAMPS: Final = "socket with SO_TIMESTAMPING"
"""The place that is a socket; every other one is the path of a device."""

SOFTWARE_STAMPS: Final = "software stamps of packets sent and received"
_SO_TIMESTAMPING: Final = 37  # include/uapi/asm-generic/socket.h
_TX_SOFTWARE: Final = 1 << 1  # include/uapi/linux/net_tstamp.h
_RX_SOFTWARE: Final = 1 << 3


class Held:
    """A place is a device that takes a 32-bit number in microseconds, or `STAMPS`.

    Of a device (Documentation/power/pm_qos_interface.rst) the value is our own request: what others
    hold at the same time ends with them, not with us.  While we hold one, it reads as what is in
    force, which is the lowest of all requests.  Of the socket it is what the socket stamps: the
    first one in the machine that stamps what it receives switches the stamps of all packets on, the
    last one switches them off (sock_enable_timestamp in net/core/sock.c, net_enable_timestamp in
    net/core/dev.c).
    """

    name = "held"
    lasting = False

    def __init__(self, tree: SysTree) -> None:
        self._tree = tree
        self._held: dict[str, int] = {}

    def read(self, place: str) -> str | None:
        """See `Medium.read`."""
        handle = self._held.get(place)
        if place == STAMPS:
            return NO_REQUEST if handle is None else _stamps(handle)
        path = self._tree.root / place.lstrip("/")
        if handle is None:
            return NO_REQUEST if path.exists() else None
        data = path.read_bytes()
        return str(_S32.unpack(data[: _S32.size])[0]) if len(data) >= _S32.size else data.decode()

    def write(self, place: str, value: str) -> None:
        """See `Medium.write`."""
        if place in self._held:
            os.close(self._held.pop(place))
        if value == NO_REQUEST:
            return
        self._held[place] = _stamping() if place == STAMPS else self._requested(place, value)

    def same(self, one: str, other: str) -> bool:
        """See `Medium.same`."""
        return one == other

    def _requested(self, place: str, value: str) -> int:
        handle = os.open(self._tree.root / place.lstrip("/"), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(handle, _S32.pack(int(value)))
        except BaseException:
            os.close(handle)
            raise
        return handle


def _stamping() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _TX_SOFTWARE | _RX_SOFTWARE)
        return one.detach()


def _stamps(handle: int) -> str:
    with socket.socket(fileno=os.dup(handle)) as one:
        flags = one.getsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING)
    both = _TX_SOFTWARE | _RX_SOFTWARE
    return SOFTWARE_STAMPS if flags & both == both else f"flags {flags:#x}"
