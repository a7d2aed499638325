"""The loads by name, and how each is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmjitter.model.plan import LoadSpec

PEER_SLOT: Final = 24
"""Loads use the slots from 0 on, the host's ends of loads those from here on."""


@dataclass(frozen=True, kw_only=True)
class LoadKind:
    """A load that the native program `load` knows.

    Attributes:
        rate: default operations per second; small enough for a guest without KVM.
        slots: entries it uses in the shared memory.
    """

    name: str
    what: str
    rate: int
    slots: int = 1
    needs_disk: bool = False
    needs_network: bool = False


LOADS: Final[dict[str, LoadKind]] = {
    kind.name: kind
    for kind in (
        LoadKind(name="shm", what="shared memory between two processes", rate=100),
        LoadKind(name="mem", what="memory copies", rate=50),
        LoadKind(name="sched", what="round trips among processes", rate=200),
        LoadKind(name="timer", what="expiries of interval timers", rate=100),
        LoadKind(name="sem", what="semaphore acquire and release", rate=200),
        LoadKind(name="disk-rw", what="disk reads and writes", rate=20, needs_disk=True),
        LoadKind(name="disk-sync", what="forced writes", rate=10, needs_disk=True),
        LoadKind(name="disk-meta", what="files created and deleted", rate=20, needs_disk=True),
        LoadKind(name="udp", what="datagrams each way", rate=100, slots=2, needs_network=True),
    )
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a load runs: paths and addresses as the load itself sees them."""

    program: str
    shm_path: str
    disk_dir: str
    peer: str


def load_argv(spec: LoadSpec, place: Place, slot: int) -> tuple[str, ...]:
    """The command line of one load that counts in ``slot`` of the shared memory."""
    kind = LOADS[spec.name]
    return (
        *(place.program, spec.name, "--rate", str(spec.rate)),
        *(("--dir", place.disk_dir) if kind.needs_disk else ()),
        *(("--peer", place.peer) if kind.needs_network else ()),
        *("--shm", place.shm_path, "--slot", str(slot), "--quiet"),
    )


def peer_argv(
    program: str, *, listen: str, rate: int, shm_path: str, slot: int, netns_fd: int | None
) -> tuple[str, ...]:
    """The command line of the host's end of the load ``udp``."""
    return (
        *(program, "udp-peer", "--listen", listen, "--rate", str(rate)),
        *(("--netns-fd", str(netns_fd)) if netns_fd is not None else ()),
        *("--shm", shm_path, "--slot", str(slot), "--quiet"),
    )
