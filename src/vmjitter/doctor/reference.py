"""The reference page of all checks, generated from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from vmjitter.doctor.causes import CAUSES
from vmjitter.doctor.check import Check
from vmjitter.doctor.checks import HOST_CHECKS
from vmjitter.doctor.guest import GUEST_CHECKS
from vmjitter.doctor.remedies import REMEDIES
from vmjitter.doctor.vm import VM_CHECKS
from vmjitter.tuning.knob import Needs

_HEAD: Final = """# Checks of `vmjitter doctor`

Generated from the checks in `src/vmjitter/doctor` by `script/docs`; do not edit.
How to read a finding: [guide/doctor.md](../guide/doctor.md).

"""
_SECTIONS: Final[tuple[tuple[str, str, tuple[Check[Any], ...]], ...]] = (
    ("The host", "`vmjitter doctor`", HOST_CHECKS),
    ("A QEMU that runs", "`vmjitter doctor --vm PID`", VM_CHECKS),
    ("A guest, from inside", "`vmjitter doctor --guest`", GUEST_CHECKS),
)


def doctor_page() -> str:
    """The page as Markdown."""
    return _HEAD + "\n".join((*_causes(), *_remedies(), *_checks()))


def _causes() -> Iterator[str]:
    yield "## By what one sees"
    yield ""
    yield from _table(
        ("seen", "cause", "checks", "not before a measurement"),
        (
            (
                one.seen,
                one.cause,
                ", ".join(f"[`{name}`](#{name})" for name in one.checks),
                one.only_while_running,
            )
            for one in CAUSES
        ),
    )


def _remedies() -> Iterator[str]:
    yield "## By remedy"
    yield ""
    yield "Where there is no knob, the check says how to change it by hand."
    yield ""
    yield from _table(
        ("number", "remedy", "knobs", "checks"),
        (
            (
                one.number,
                one.what,
                ", ".join(f"[`{name}`](knobs.md#{name})" for name in one.knobs),
                ", ".join(f"[`{name}`](#{name})" for name in one.checks),
            )
            for one in REMEDIES
        ),
    )


def _checks() -> Iterator[str]:
    described: set[str] = set()
    for title, command, checks in _SECTIONS:
        yield f"## {title}"
        yield ""
        yield command
        yield ""
        for check in checks:
            if check.id not in described:
                yield from _check(check)
            described.add(check.id)


def _check(check: Check[Any]) -> Iterator[str]:
    yield f"### {check.id}"
    yield ""
    yield check.asks
    yield ""
    yield f"* reads: {', '.join(_code(place) for place in check.reads)}"
    yield f"* costs: {check.cost}"
    yield f"* cure: {check.cure}"
    if check.knob:
        yield f"* knob: `{check.knob}` applies it and takes it back"
    if check.restarts is not Needs.NOTHING:
        yield f"* starts again: {check.restarts.value}"
    yield f"* source: {check.source}"
    yield ""


def _code(place: str) -> str:
    return f"`{place}`" if place.startswith("/") else place


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""
