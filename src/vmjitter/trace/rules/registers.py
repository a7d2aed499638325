"""Accesses to registers during an exit: who KVM or QEMU stood in for."""

from __future__ import annotations

from typing import Final

from vmjitter.trace.devices import device_name
from vmjitter.trace.events import Access, PageFault
from vmjitter.trace.rules.rule import Look
from vmjitter.trace.thread_states import State

_REGISTERS: Final = 0xFEC00000
"""From here to 4 GiB a PC has registers only: I/O APIC, HPET, local APIC, firmware."""

_4_GIB: Final = 1 << 32


def accessed(look: Look, state: State, *, since: int | None = None) -> str:
    """The register that was accessed in a state, for people; empty if none was.

    Args:
        look: the wake-up.
        state: of the thread.
        since: the host's kernel may have told of it before the state began, but not before this.
    """
    last: Access | None = None
    first = state.start if since is None else since
    for at in look.scene.accesses.between(first, state.end):
        if at.tid != look.scene.tid or not isinstance(at.what, Access):
            continue
        if at.what.kind != "device" or at.start >= state.start:
            last = at.what
    if last is None:
        return _faulted(look, state)
    name = last.name or device_name(last.kind, last.address)
    return f"{name}, {'write' if last.write else 'read'} at {last.address:#x}"


def _faulted(look: Look, state: State) -> str:
    """KVM learns of a register by a page fault, too, before it knows that it is one."""
    for at in look.scene.faults.between(state.start, state.end):
        if at.tid == look.scene.tid and isinstance(at.what, PageFault):
            address = at.what.address
            if _REGISTERS <= address < _4_GIB:
                return f"{device_name('mmio', address)}, fault at {address:#x}"
    return ""
