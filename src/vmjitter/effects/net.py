"""A virtual wire to the guest: a tap device in a network namespace of its own.

The namespace has no name: it lives as long as a process or a descriptor of ours refers to it, so
nothing is left behind when vmjitter is killed (namespaces(7), "Namespace lifetime").
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from vmjitter.errors import MissingCapability

_CLONE_NEWNET: Final = 0x40000000  # sched.h
_TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000

HOST_ADDRESS: Final = "192.0.2.1"  # TEST-NET-1, RFC 5737: never routed
GUEST_ADDRESS: Final = "192.0.2.2"
PREFIX_LENGTH: Final = 24
_TAP_NAME: Final = "vmjtap0"
_IFB_NAME: Final = "vmjifb0"


@dataclass(frozen=True, kw_only=True)
class Wire:
    """Descriptors of the host's end of the wire.

    Attributes:
        tap_fd: the tap device, for QEMU.
        netns_fd: the namespace in which the host's end has its address.
    """

    tap_fd: int
    netns_fd: int


@contextmanager
def tap_wire(delay_ns: int = 0) -> Iterator[Wire]:
    """Make a namespace with a tap device that is up and has `HOST_ADDRESS`.

    Args:
        delay_ns: time that each packet takes, in either direction; whole microseconds.

    Raises:
        MissingCapability: no root, or the kernel has no tun driver or namespaces.
    """
    result: list[Wire | OSError] = []
    # unshare(2) moves the calling thread only, so the rest of us stays where it is.
    thread = threading.Thread(target=_make_wire, args=(result, delay_ns))
    thread.start()
    thread.join()
    wire = result[0]
    if isinstance(wire, OSError):
        raise MissingCapability(
            f"no tap device in a network namespace of its own: {wire.strerror}",
            hint="run as root on a kernel with tun and network namespaces",
        )
    try:
        yield wire
    finally:
        os.close(wire.tap_fd)
        os.close(wire.netns_fd)


def free_udp_port(address: str) -> int:
    """A UDP port that nobody uses on ``address`` now, chosen by the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


def _make_wire(result: list[Wire | OSError], delay_ns: int) -> None:
    try:
        _unshare_network()
        tap_fd = _open_tap()
        try:
            _bring_up()
            if delay_ns:
                _slow_down(delay_ns)
            netns_fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(tap_fd)
            raise
        result.append(Wire(tap_fd=tap_fd, netns_fd=netns_fd))
    except OSError as error:
        result.append(error)


def _unshare_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _open_tap() -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        request = struct.pack("16sH22x", _TAP_NAME.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(fd, _TUNSETIFF, request)
    except OSError:
        os.close(fd)
        raise
    return fd


def _bring_up() -> None:
    # Imported here because it takes 100 ms and only runs with a tap device need it.
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

    try:
        with IPRoute() as ip:
            index = ip.link_lookup(ifname=_TAP_NAME)[0]
            ip.addr("add", index=index, address=HOST_ADDRESS, prefixlen=PREFIX_LENGTH)
            ip.link("set", index=index, state="up")
            ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


def _slow_down(delay_ns: int) -> None:
    """Delay what goes out of the tap device, and what comes in by way of an ifb device.

    A queueing discipline acts on what leaves a device (tc-netem(8)); what enters is redirected to
    an intermediate device, from where it leaves (tc-mirred(8), ifb).
    """
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

    try:
        with IPRoute() as ip:
            tap = ip.link_lookup(ifname=_TAP_NAME)[0]
            ip.link("add", ifname=_IFB_NAME, kind="ifb")
            ifb = ip.link_lookup(ifname=_IFB_NAME)[0]
            ip.link("set", index=ifb, state="up")
            for index in (tap, ifb):
                ip.tc("add", "netem", index, delay=delay_ns // 1000, limit=10_000)
            ip.tc("add", "ingress", tap, "ffff:")
            redirect = {
                "kind": "mirred",
                "direction": "egress",
                "action": "redirect",
                "ifindex": ifb,
            }
            ip.tc("add-filter", "matchall", tap, parent="ffff:", action=redirect)
    except NetlinkError as error:
        raise OSError(error.code, f"delay on the wire: {error}") from error
