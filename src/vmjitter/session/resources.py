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
from typing import Final

from vmjitter.effects.net import HOST_ADDRESS, Wire, free_udp_port, tap_wire
from vmjitter.effects.process import Child
from vmjitter.effects.scratch import fd_path
from vmjitter.errors import MissingCapability
from vmjitter.guest.disk import make_scratch_disk
from vmjitter.guest.image import native_program
from vmjitter.loads.catalog import PEER_SLOT, peer_argv
from vmjitter.model.plan import WireSpec
from vmjitter.qemu.cmdline import USER_NET

VHOST_NET: Final = "/dev/vhost-net"
_LOOPBACK: Final = "127.0.0.1"
_PORT_ON_WIRE: Final = 5201


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
        os.fsync(fd)  # so that the host does not write it back while the guest is measured
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
def network_link(wire_spec: WireSpec, *, vhost: bool) -> Iterator[Link]:
    """The best network this user on this host can have."""
    with ExitStack() as stack:
        deviations = []
        wire: Wire | None = None
        try:
            wire = stack.enter_context(tap_wire(wire_spec.delay_ns))
        except MissingCapability as error:
            deviations.append(f"user-mode network instead of tap: {error.message}")
            if wire_spec.delay_ns:
                deviations.append("no delay on the wire: it needs a tap device")
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


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the host's end of the load ``udp`` listens.

    Attributes:
        reached_at: ADDRESS:PORT as the load's own end sees it.
        netns_fd: the namespace to listen in, or None for our own.
    """

    listen: str
    reached_at: str
    netns_fd: int | None


def endpoint(wire: Wire | None, *, from_guest: bool) -> Endpoint:
    """A place to listen that the guest, or the load on the host itself, can reach."""
    if wire is not None:
        here = f"{HOST_ADDRESS}:{_PORT_ON_WIRE}"  # nobody else is in that namespace
        return Endpoint(listen=here, reached_at=here, netns_fd=wire.netns_fd)
    port = free_udp_port(_LOOPBACK)
    # QEMU's user-mode network passes what is sent to its host address on to our loopback
    host = USER_NET[1] if from_guest else _LOOPBACK
    return Endpoint(listen=f"{_LOOPBACK}:{port}", reached_at=f"{host}:{port}", netns_fd=None)


def start_peer(place: Endpoint, *, rate: int, shm_fd: int, log: Path) -> Child:
    """Start the host's end of the load ``udp``."""
    argv = peer_argv(
        str(host_program("load")),
        listen=place.listen,
        rate=rate,
        shm_path=fd_path(shm_fd),
        slot=PEER_SLOT,
        netns_fd=place.netns_fd,
    )
    inherit = (shm_fd,) if place.netns_fd is None else (shm_fd, place.netns_fd)
    return Child(argv, log=log, pass_fds=inherit)
