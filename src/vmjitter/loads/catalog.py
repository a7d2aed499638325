"""The loads by name, and how each is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vmjitter.guest import layout
from vmjitter.model.plan import LoadSpec

BESIDE_SLOT: Final = 12
"""First slot of the loads that run on the host beside a guest; each kind fits once.

The guest's loads, or those of the scenario without a guest, have the slots from 0 on.
"""

PEER_SLOT: Final = 24
"""First slot of the host's end of the load ``udp``."""

BESIDE_PEER_SLOT: Final = 26
"""First slot of the other end of a load ``udp`` that runs on the host beside a guest."""


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
        LoadKind(name="cpu", what="bursts of 100 000 arithmetic steps", rate=100),
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


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A load and where it counts.

    Attributes:
        slot: its first slot; one more follows per further direction.
        names: of its slots, in their order; no two loads of one side share one.
        peer_slot: first slot of its other end, or None for a load without one.
        peer_names: of that end's slots.
    """

    spec: LoadSpec
    slot: int
    names: tuple[str, ...]
    peer_slot: int | None
    peer_names: tuple[str, ...]

    @property
    def slots(self) -> tuple[tuple[int, str], ...]:
        """Its own slots, with their names."""
        return tuple(enumerate(self.names, start=self.slot))

    @property
    def peer_slots(self) -> tuple[tuple[int, str], ...]:
        """The slots of its other end, with their names."""
        return tuple(enumerate(self.peer_names, start=self.peer_slot or 0))


def place_loads(specs: Sequence[LoadSpec], *, beside: bool) -> tuple[Placed, ...]:
    """Give each load its slots in the shared memory.

    Args:
        specs: the loads of one side, each kind once.
        beside: they run on the host while the probe runs in a guest.

    Raises:
        ValueError: they do not fit; cannot be if each kind is there once.
    """
    slot = first = BESIDE_SLOT if beside else 0
    peer_slot = BESIDE_PEER_SLOT if beside else PEER_SLOT
    placed = []
    for spec in specs:
        kind = LOADS[spec.name]
        names = _slot_names(spec.name)
        placed.append(
            Placed(
                spec=spec,
                slot=slot,
                names=names,
                peer_slot=peer_slot if kind.needs_network else None,
                peer_names=_peer_names(names, beside=beside) if kind.needs_network else (),
            )
        )
        slot += len(names)
    if slot - first > BESIDE_SLOT or slot > layout.LOAD_SLOTS:
        raise ValueError(f"{slot - first} slots are wanted, {BESIDE_SLOT} are there")
    return tuple(placed)


def _slot_names(load: str) -> tuple[str, ...]:
    return ("udp-send", "udp-recv") if LOADS[load].slots > 1 else (load,)


def _peer_names(names: Sequence[str], *, beside: bool) -> tuple[str, ...]:
    """Of the other end, which is on the host in any case: told apart if there may be two."""
    where = " over lo" if beside else ""
    return tuple(f"{name}{where} (peer)" for name in names)


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
