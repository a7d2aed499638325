"""The form of a check, and how checks become a diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmjitter.doctor.finding import Diagnosis, Finding, Severity, Unknown
from vmjitter.tuning.knob import Needs
from vmjitter.tuning.knobs import KNOBS

View_contra = TypeVar("View_contra", contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a check sees.  What is None is as the check itself has it.

    Attributes:
        title: what is so, without a full stop.
        evidence: as read.
    """

    severity: Severity
    title: str
    evidence: str
    cost: str | None = None
    cure: str | None = None
    knob: str | None = None


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """A check cannot see; ``why`` names what would help."""

    why: str


Answer = Seen | Unseen | None
"""None: the question does not arise on this machine."""


@dataclass(frozen=True, kw_only=True)
class Check(Generic[View_contra]):
    """One question to a view.

    Attributes:
        id: stable name, in lower case with hyphens.
        asks: the question.
        reads: what it looks at, for the reference page.
        cost: what it costs where the answer is bad, with the size if one is known.
        cure: a command, or an option of the kernel or of QEMU.
        source: who says so: manual page, kernel document or commit, issue.
        knob: ours that applies the cure and takes it back.
        needs: what has to start again for a cure without a knob.
        look: the answer.
    """

    id: str
    asks: str
    reads: tuple[str, ...]
    cost: str
    cure: str
    source: str
    look: Callable[[View_contra], Answer]
    knob: str = ""
    needs: Needs = Needs.NOTHING

    @property
    def restarts(self) -> Needs:
        """What has to start again: for a knob, what the knob says."""
        return KNOBS[self.knob].needs if self.knob else self.needs


def ok(title: str, evidence: str) -> Seen:
    """It is well."""
    return Seen(severity=Severity.OK, title=title, evidence=evidence)


def note(title: str, evidence: str, **other: str) -> Seen:
    """See `Severity.NOTE`; ``other`` are further attributes of `Seen`."""
    return Seen(severity=Severity.NOTE, title=title, evidence=evidence, **other)


def warning(title: str, evidence: str, **other: str) -> Seen:
    """See `Severity.WARNING`."""
    return Seen(severity=Severity.WARNING, title=title, evidence=evidence, **other)


def problem(title: str, evidence: str, **other: str) -> Seen:
    """See `Severity.PROBLEM`."""
    return Seen(severity=Severity.PROBLEM, title=title, evidence=evidence, **other)


def blocker(title: str, evidence: str, **other: str) -> Seen:
    """See `Severity.BLOCKER`."""
    return Seen(severity=Severity.BLOCKER, title=title, evidence=evidence, **other)


def diagnose(subject: str, checks: Iterable[Check[View_contra]], view: View_contra) -> Diagnosis:
    """Ask every check."""
    findings: list[Finding] = []
    unknown: list[Unknown] = []
    for check in checks:
        answer = check.look(view)
        if isinstance(answer, Seen):
            findings.append(_finding(check, answer))
        elif isinstance(answer, Unseen):
            unknown.append(Unknown(id=check.id, asks=check.asks, why=answer.why))
    findings.sort(key=lambda one: -one.severity.rank)
    return Diagnosis(subject=subject, findings=tuple(findings), unknown=tuple(unknown))


def _finding(check: Check[View_contra], seen: Seen) -> Finding:
    if seen.severity is Severity.OK:
        return Finding(
            id=check.id,
            severity=seen.severity,
            title=seen.title,
            evidence=seen.evidence,
            source=check.source,
        )
    knob = check.knob if seen.knob is None else seen.knob
    needs = KNOBS[knob].needs if knob else check.needs
    return Finding(
        id=check.id,
        severity=seen.severity,
        title=seen.title,
        evidence=seen.evidence,
        cost=check.cost if seen.cost is None else seen.cost,
        cure=check.cure if seen.cure is None else seen.cure,
        source=check.source,
        knob=knob,
        needs=needs.value,
    )
