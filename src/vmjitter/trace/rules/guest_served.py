"""What the rules for the guest's interrupts share."""

from __future__ import annotations

from collections.abc import Iterator

from vmjitter.trace.cpus import interrupts
from vmjitter.trace.intervals import common
from vmjitter.trace.rules.rule import Finding, Look


def guest_served(look: Look, kind: str) -> Iterator[Finding]:
    """Stretches in which the guest ran, and its CPU did such work."""
    guest = look.guest
    if guest is None:
        return
    ran = look.in_guest()
    for one in interrupts(guest.cpu, kind, look.window.interval):
        for part in common(ran, [(one.start, one.end)]):
            yield Finding(*part, one.name)
