"""What every knob can do.

A knob is applied to a running trial, read back, and read once more at the end, so that the result
can prove that it was in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vmjitter.model.run import KnobChange


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a knob may act on: the QEMU process of the trial."""

    qemu_pid: int


class Knob(Protocol):
    """One setting of the host or of QEMU."""

    @property
    def name(self) -> str:
        """Its name, as plans and reports write it."""

    @property
    def effect(self) -> str:
        """One sentence on what it changes."""

    @property
    def undo(self) -> str:
        """How the previous state comes back, also after SIGKILL."""

    def apply(self, target: Target) -> tuple[KnobChange, ...]:
        """Set it and read it back.

        Raises:
            MissingCapability: this user or this kernel may not; the hint says how to.
        """

    def verify(self, target: Target, changes: tuple[KnobChange, ...]) -> tuple[KnobChange, ...]:
        """The same changes with ``after`` filled in from what is set now."""
