"""Checks of a host, in the order in which findings of one severity are shown."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Check
from vmjitter.doctor.checks import (
    clock,
    cpu,
    firmware,
    interrupts,
    io,
    isolation,
    kernel,
    known_bad,
    kvm,
    kvm_parameters,
    memory,
    noise,
    scheduling,
    security,
    tools,
    tracing,
)
from vmjitter.doctor.view import HostView

# What makes a measurement worthless first, then what costs most, then what is seldom the cause.
_GROUPS: Final = (
    kernel,
    known_bad,
    kvm,
    scheduling,
    isolation,
    cpu,
    clock,
    memory,
    interrupts,
    kvm_parameters,
    security,
    noise,
    io,
    tools,
    firmware,
    tracing,
)

HOST_CHECKS: Final[tuple[Check[HostView], ...]] = tuple(
    check for group in _GROUPS for check in group.CHECKS
)
