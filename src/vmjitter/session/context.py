"""What the parts of one trial share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmjitter.guest.image import GuestImage
from vmjitter.guest.shm import SharedMemory
from vmjitter.model.plan import Accel, Plan, Scenario
from vmjitter.session.outcome import Outcome
from vmjitter.session.progress import Report
from vmjitter.store.rundir import TrialWriter


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What is booted, and how.

    Attributes:
        images: one per scenario name, since each gets the modules of its devices only.
        accel: KVM or TCG, decided; ``accel_reason`` says why not KVM.
    """

    images: dict[str, GuestImage]
    accel: Accel
    accel_reason: str


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """One trial's plan, memory and directory.

    Attributes:
        guest: None if no scenario of the run needs one.
        shm_fd: descriptor of ``shm``, for children to inherit.
        outcome: grows while the trial runs.
        publish: writes what is known by now to the trial's status, so that it is there even if
            vmjitter is killed.
    """

    plan: Plan
    scenario: Scenario
    guest: Guest | None
    shm: SharedMemory
    shm_fd: int
    writer: TrialWriter
    outcome: Outcome
    report: Report
    publish: Callable[[], None]
