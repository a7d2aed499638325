"""What is recorded beside the samples, to explain late wake-ups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vmjitter.units import Ns


class QemuTrace(StrEnum):
    """Whether QEMU's own trace events are recorded; AUTO: where the kernel's are not to be had."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class EventSet(StrEnum):
    """How many kinds of events: who had a CPU, what decides a cause, or also what adds detail."""

    LIGHT = "light"
    LEAN = "lean"
    FULL = "full"


@dataclass(frozen=True, kw_only=True)
class TraceSpec:
    """How a trial is traced.

    Attributes:
        enabled: without it only what costs nothing is recorded: counters of every thread.
        break_ns: the first wake-up later than this ends the trial; None: none does.
        threshold_ns: only what surrounds later wake-ups is kept; None: everything that the rings
            hold at the end, and what surrounds each new worst wake-up.
        buffer_bytes: size of a ring, per CPU.
        keep_bytes: the most that is stored of one trial, compressed.
        events: each event costs time that the guest waits for.
        qemu: QEMU's own events, one line of a log per lock and access: the dearest of all.
        guest: events of the guest's kernel.
    """

    enabled: bool = False
    break_ns: Ns | None = None
    threshold_ns: Ns | None = None
    buffer_bytes: int = 16 << 20
    keep_bytes: int = 24 << 20
    events: EventSet = EventSet.LEAN
    qemu: QemuTrace = QemuTrace.AUTO
    guest: bool = True

    @property
    def active(self) -> bool:
        """Whether events are recorded: asked for, or implied by a threshold."""
        return self.enabled or self.break_ns is not None or self.threshold_ns is not None
