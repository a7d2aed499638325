"""The side on which probe and loads run: inside a guest, or on the host itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vmjitter.guest.channel import Reply
from vmjitter.loads.catalog import Place
from vmjitter.model.run import ClockOffset


class Side(Protocol):
    """What measuring needs of either side."""

    @property
    def name(self) -> str:
        """Either "guest" or "host"."""

    @property
    def place(self) -> Place:
        """Where loads find their program, memory, disk and peer."""

    @property
    def probe_program(self) -> str:
        """Path of the probe as this side sees it."""

    @property
    def affinity(self) -> str:
        """CPU list for the probe; empty for no restriction."""

    @property
    def free_cpus(self) -> frozenset[int]:
        """CPUs of the host on which vmjitter itself may work while the probe runs."""

    def spawn(self, argv: Sequence[str]) -> int:
        """Start a program in the background; returns its process id on this side."""

    def runs(self, pid: int) -> bool:
        """Whether a program started by `spawn` is still there."""

    def start(self, argv: Sequence[str]) -> None:
        """Start the one program whose end `finished` tells."""

    def finished(self) -> Reply | None:
        """Exit status and output of the started program; None while it runs."""

    def pause(self, seconds: float) -> None:
        """Wait, at most so long, for something to happen.

        Raises:
            GuestLost: the guest or QEMU is gone.
        """

    def clock_offset(self) -> ClockOffset | None:
        """This side's clock minus the host's; None where both are the same."""

    def evidence(self) -> str:
        """The end of the side's console, for error messages."""
