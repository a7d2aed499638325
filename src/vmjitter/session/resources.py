"""What a guest trial holds open: memory, disk image, wire, peer.

Everything here is undone by the kernel when its descriptors close, so also when we are killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmjitter.effects.net import HOST_ADDRESS, Wire, tap_wire
from vmjitter.effects.process import Child
from vmjitter.errors import MissingCapability
from vmjitter.guest.disk import make_scratch_disk
from vmjitter.guest.image import native_program
from vmjitter.loads.catalog import PEER_SLOT, UDP_PORT, peer_argv

VHOST_NET = "/dev/vhost-net"


@contextmanager
def scratch_image(directory: Path, size_bytes: int) -> Iterator[tuple[int, bool]]:
    """An ext4 image without a name: its descriptor, and whether O_DIRECT works on it.

    Raises:
        MissingCapability: mke2fs is not installed.
        CommandFailed: the image cannot be made, for instance on a full disk.
    """
    handle, name = tempfile.mkstemp(prefix=".scratch-", dir=directory)
    os.close(handle)
    path = Path(name)
    try:
        make_scratch_disk(path, size_bytes)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        direct = _can_direct(path)
    finally:
        path.unlink(missing_ok=True)
    try:
        yield fd, direct
    finally:
        os.close(fd)


def _can_direct(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Link:
    """The network between host and guest.

    Attributes:
        wire: tap and namespace; None means QEMU's user-mode network.
        vhost_fd: an open vhost-net, or None.
        deviations: what was wanted and is not to be had, with the reason.
    """

    wire: Wire | None
    vhost_fd: int | None
    deviations: tuple[str, ...]


@contextmanager
def network_link(*, vhost: bool) -> Iterator[Link]:
    """The best network this user on this host can have."""
    with ExitStack() as stack:
        deviations = []
        wire: Wire | None = None
        try:
            wire = stack.enter_context(tap_wire())
        except MissingCapability as error:
            deviations.append(f"user-mode network instead of tap: {error.message}")
        vhost_fd, reason = _open_vhost(wire) if vhost else (None, "")
        if vhost_fd is not None:
            stack.callback(os.close, vhost_fd)
        if reason:
            deviations.append(f"virtio-net without vhost-net: {reason}")
        yield Link(wire=wire, vhost_fd=vhost_fd, deviations=tuple(deviations))


def _open_vhost(wire: Wire | None) -> tuple[int | None, str]:
    if wire is None:
        return None, "it needs a tap device"
    try:
        return os.open(VHOST_NET, os.O_RDWR | os.O_CLOEXEC), ""
    except OSError as error:
        return None, f"{VHOST_NET}: {error.strerror}"


def host_program(name: str) -> Path:
    """Our native ``probe`` or ``load`` for this host.

    Raises:
        MissingCapability: this host is not x86-64, or the programs were not built.
    """
    machine = os.uname().machine
    if machine != "x86_64":
        raise MissingCapability(
            f"there is no native {name} for {machine} yet",
            hint="leave out what runs on the host itself: --only SCENARIO",
        )
    return native_program(name, "x86_64")


def start_peer(*, rate: int, shm_fd: int, wire: Wire | None, log: Path) -> Child:
    """Start the host's end of the load ``udp`` where the guest can reach it."""
    listen = HOST_ADDRESS if wire is not None else "127.0.0.1"
    netns_fd = wire.netns_fd if wire is not None else None
    argv = peer_argv(
        str(host_program("load")),
        listen=f"{listen}:{UDP_PORT}",
        rate=rate,
        shm_path=f"/proc/self/fd/{shm_fd}",
        slot=PEER_SLOT,
        netns_fd=netns_fd,
    )
    inherit = (shm_fd,) if netns_fd is None else (shm_fd, netns_fd)
    return Child(argv, log=log, pass_fds=inherit)
