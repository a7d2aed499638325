"""Checks of a QEMU that runs, in the order in which findings of one severity are shown."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Check
from vmjitter.doctor.vm import devices, disk, memory, processor, threads
from vmjitter.doctor.vm.view import VmView

_GROUPS: Final = (threads, memory, disk, devices, processor)

VM_CHECKS: Final[tuple[Check[VmView], ...]] = tuple(
    check for group in _GROUPS for check in group.CHECKS
)
