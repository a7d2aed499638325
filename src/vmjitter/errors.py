"""Every error that vmjitter raises on purpose, with its exit status and a remedy.

    VmjitterError                 1   something failed on our side
    +-- UsageError                2   an option, a plan or a name is wrong
    +-- MissingCapability         1   this machine lacks something; the hint says how to get it
    +-- CommandFailed             1   a program we started failed; its output is in the message
    +-- GuestLost                 1   the guest or QEMU is gone, or does not answer
    |   +-- BootTimeout               it never became ready
    |   +-- GuestPanic                its kernel panicked
    |   +-- GuestHang                 it stopped making progress
    |   +-- QemuDied                  QEMU ended by itself
    |   +-- StorageDaemonDied         the process that served its disk did
    +-- SimulationLost            1   a simulated host is gone
    |   +-- SimulationStalled         it runs, but makes no progress
    +-- GuestCommandFailed        1   the guest is well, a program in it failed
    +-- DataError                 1   a file of a run cannot be read, or not completely
    +-- MeasurementInvalid        4   it ran, but its result must not be used
    +-- Interrupted             130   Ctrl-C or SIGTERM; what was measured is kept

Only ``vmjitter.cli`` prints these and chooses the exit status.  The other statuses are
results, not errors: 0 the deadline holds or none was given, 3 it was missed.
"""

from __future__ import annotations

from typing import ClassVar


class VmjitterError(Exception):
    """A failure that the user is told about without a traceback.

    Args:
        message: what failed, and where.
        hint: what to do about it; one sentence or a command.
        evidence: output that shows the failure, such as the end of the guest's console.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", evidence: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence


class UsageError(VmjitterError):
    """The user asked for something that does not exist or makes no sense."""

    exit_status = 2


class MissingCapability(VmjitterError):
    """This machine cannot do it; the hint says what to install or to permit."""


class CommandFailed(VmjitterError):
    """A program on this machine ended with a failure."""


class GuestLost(VmjitterError):
    """Nothing more can be expected from the guest."""


class BootTimeout(GuestLost):
    """The guest did not become ready in time."""


class GuestPanic(GuestLost):
    """The guest's kernel panicked."""


class GuestHang(GuestLost):
    """The guest runs, but stopped making progress."""


class QemuDied(GuestLost):
    """The QEMU process ended while the guest was needed."""


class StorageDaemonDied(GuestLost):
    """The process that served the guest's disk ended while the guest was needed."""


class SimulationLost(VmjitterError):
    """The simulator ended, or its host, before the job was done."""


class SimulationStalled(SimulationLost):
    """The simulated host runs, but makes no progress."""


class GuestCommandFailed(VmjitterError):
    """The guest is well, but a program in it failed."""


class Interrupted(VmjitterError):
    """The user ended it: 128 + SIGINT, as shells do."""

    exit_status = 130


class DataError(VmjitterError):
    """A stored file is missing, truncated or of another format."""


class MeasurementInvalid(VmjitterError):
    """The measurement ended, but a proof of its soundness failed."""

    exit_status = 4
