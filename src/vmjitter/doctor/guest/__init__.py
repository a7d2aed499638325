"""Checks of a guest's kernel, from inside: what `cat` can read there is enough."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Check
from vmjitter.doctor.checks import known_bad
from vmjitter.doctor.guest import kernel, noise, time
from vmjitter.doctor.kernel_view import KernelView

_GROUPS: Final = (kernel, known_bad, time, noise)

GUEST_CHECKS: Final[tuple[Check[KernelView], ...]] = tuple(
    check for group in _GROUPS for check in group.CHECKS
)
