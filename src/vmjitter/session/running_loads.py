"""The loads of a trial, on whichever sides they run: up, watched, down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from vmjitter.effects.clock import now_ns
from vmjitter.errors import GuestCommandFailed
from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory
from vmjitter.loads.catalog import Place, Placed, load_argv, place_loads
from vmjitter.loads.progress import Counted, LoadMonitor
from vmjitter.model.plan import LoadSpec
from vmjitter.units import NS_PER_S

LOADS_UP_S: Final = 60.0
LOADS_DOWN_S: Final = 10.0
_LOOK_S: Final = 0.05


class LoadSide(Protocol):
    """What loads need of the side on which they run; every `Side` is one."""

    @property
    def name(self) -> str:
        """Either "guest" or "host"."""

    @property
    def place(self) -> Place:
        """Where loads find their program, memory, disk and peer."""

    def spawn(self, argv: Sequence[str]) -> int:
        """Start a program in the background; returns its process id on this side."""

    def runs(self, pid: int) -> bool:
        """Whether a program started by `spawn` is still there."""

    def evidence(self) -> str:
        """What the side's programs said last, for error messages."""


@dataclass(frozen=True, kw_only=True)
class Party:
    """The loads of one side.

    Attributes:
        loads: with their slots.
        peer: command line of the other end of their load ``udp``, to be started on the same side
            before it; None if somebody else has started it.
    """

    side: LoadSide
    loads: tuple[Placed, ...]
    peer: tuple[str, ...] | None = None

    @classmethod
    def of(cls, side: LoadSide, specs: Sequence[LoadSpec]) -> Party:
        """The loads that run where the probe does."""
        return cls(side=side, loads=place_loads(specs, beside=False))


@dataclass(frozen=True)
class _Process:
    """A program and the slots in which it counts."""

    side: LoadSide
    pid: int
    slots: tuple[tuple[int, str], ...]

    @property
    def dead(self) -> bool:
        return not self.side.runs(self.pid)


class RunningLoads:
    """Starts, follows and ends the loads of a trial.

    Args:
        shm: where they count.
        pause: waits at most so many seconds, and raises if the guest is gone.
    """

    def __init__(self, shm: SharedMemory, pause: Callable[[float], None]) -> None:
        self._shm = shm
        self._pause = pause
        self._monitor = LoadMonitor(shm)
        self._processes: list[_Process] = []
        self._slots: list[int] = []

    def start(self, party: Party, tell: Callable[[str], None]) -> None:
        """Start one side's loads and wait until each has done something.

        Args:
            party: the loads.
            tell: given how far it is, while it waits.

        Raises:
            GuestCommandFailed: one of them did not come up.
            GuestLost: the guest is gone.
        """
        for load in party.loads:
            if party.peer is not None and load.peer_slot is not None:
                self._start_peer(party.side, party.peer, load, tell)
            argv = load_argv(load.spec, party.side.place, load.slot)
            self._spawn(party.side, argv, load.slots)
            self._follow(load.slots, party.side.name)
            self._follow(load.peer_slots, "host")
        self._await(party.side, self._monitor.waiting_for, tell)

    def poll(self) -> None:
        """Copy the seconds completed since the last call."""
        self._monitor.poll()

    def rates(self) -> dict[str, float]:
        """Operations in the last completed second, by load."""
        return self._monitor.rates()

    def counted(self) -> tuple[Counted, ...]:
        """All counters as they stand; those of a killed load say that it died.

        It cannot say so itself: its slot still reads "running".
        """
        dead = self._dead()
        return tuple(
            replace(load, state="died") if slot in dead and load.state == "running" else load
            for slot, load in zip(self._slots, self._monitor.snapshot(), strict=True)
        )

    def stop(self) -> None:
        """Ask all of them to end, and wait until they have."""
        self._shm.control.load_stop = 1
        dead = self._dead()
        end_ns = now_ns() + round(LOADS_DOWN_S * NS_PER_S)
        while not self._monitor.all_ended(dead) and now_ns() < end_ns:
            self._pause(0.02)

    def _start_peer(
        self, side: LoadSide, argv: Sequence[str], load: Placed, tell: Callable[[str], None]
    ) -> None:
        """Start the other end and wait until it listens: what is sent before is an error."""
        self._spawn(side, argv, load.peer_slots)
        slot, name = load.peer_slots[0]
        self._await(side, lambda: "" if self._running(slot) else name, tell)

    def _spawn(
        self, side: LoadSide, argv: Sequence[str], slots: tuple[tuple[int, str], ...]
    ) -> None:
        self._processes.append(_Process(side, side.spawn(argv), slots))

    def _follow(self, slots: Sequence[tuple[int, str]], side: str) -> None:
        for slot, name in slots:
            self._slots.append(slot)
            self._monitor.add(slot, name, side)

    def _await(
        self, side: LoadSide, missing: Callable[[], str], tell: Callable[[str], None]
    ) -> None:
        end_ns = now_ns() + round(LOADS_UP_S * NS_PER_S)
        while waiting := missing():
            failed = self._monitor.failed() or self._never_began()
            if failed or now_ns() > end_ns:
                raise GuestCommandFailed(
                    f"a load did not start on the {side.name}: {failed or waiting}",
                    evidence=side.evidence(),
                )
            tell(f"loads {self._monitor.working()}")
            self._pause(_LOOK_S)

    def _never_began(self) -> str:
        """The name of a load whose program ended before it could say anything."""
        for process in self._processes:
            slot, name = process.slots[0]
            # The state is read once more: it may have come up and ended between both looks.
            if self._silent(slot) and process.dead and self._silent(slot):
                return f"{name} ended at once"
        return ""

    def _running(self, slot: int) -> bool:
        return bool(self._shm.loads[slot].state == layout.RUN_RUNNING)

    def _silent(self, slot: int) -> bool:
        return bool(self._shm.loads[slot].state == layout.RUN_NONE)

    def _dead(self) -> frozenset[int]:
        return frozenset(slot for one in self._processes if one.dead for slot, _ in one.slots)
