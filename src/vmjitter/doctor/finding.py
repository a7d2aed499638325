"""What a check has found, and all findings together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

REPORT_FORMAT: Final = 1


class Severity(StrEnum):
    """How much it matters for wake-ups, the least first."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; may cost microseconds, or depends on the use."""
    WARNING = "warning"
    """Costs up to about 100 microseconds, or more under some load."""
    PROBLEM = "problem"
    """Costs milliseconds, or makes a recipe fail."""
    BLOCKER = "blocker"
    """Until it is cured, a measurement here says nothing about a real-time guest."""

    @property
    def rank(self) -> int:
        """0 for `OK`, 4 for `BLOCKER`."""
        return list(Severity).index(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer.

    Attributes:
        id: stable name of the check.
        title: what is so, one sentence without a full stop.
        evidence: what was read: "path = value".
        cost: what it costs a wake-up; empty if it is well.
        cure: a command, or an option of the kernel or of QEMU; empty if it is well.
        source: who says so.
        knob: ours that applies and takes back the cure, or empty.
        needs: what has to start again for the cure, in the words of `vmjitter.tuning.knob.Needs`.
    """

    id: str
    severity: Severity
    title: str
    evidence: str
    cost: str = ""
    cure: str = ""
    source: str = ""
    knob: str = ""
    needs: str = ""


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A check that could not be answered.

    Attributes:
        asks: its question.
        why: what is missing, such as root.
    """

    id: str
    asks: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All answers about one place: the worst first, otherwise in the order of the checks.

    Attributes:
        subject: what was looked at, such as "host" or "QEMU 4711".
    """

    subject: str
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...] = ()

    @property
    def worst(self) -> Severity:
        """Of all findings; `Severity.OK` if there is none."""
        return max((one.severity for one in self.findings), key=_rank, default=Severity.OK)

    @property
    def exit_status(self) -> int:
        """0 nothing worse than a note, 3 a warning or a problem, 4 a blocker.

        The same numbers as elsewhere: 3 the aim is missed, 4 a measurement would not be valid.
        """
        if self.worst is Severity.BLOCKER:
            return 4
        return 3 if self.worst.rank >= Severity.WARNING.rank else 0

    def as_data(self) -> dict[str, Any]:
        """The contract of ``--json``."""
        return {
            "format": REPORT_FORMAT,
            "subject": self.subject,
            "worst": self.worst.value,
            "findings": [dataclasses.asdict(one) for one in self.findings],
            "unknown": [dataclasses.asdict(one) for one in self.unknown],
        }


def _rank(severity: Severity) -> int:
    return severity.rank
