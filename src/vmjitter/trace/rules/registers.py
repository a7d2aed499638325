"""Accesses to registers during an exit: who KVM or QEMU stood in for."""

from __future__ import annotations

from typing import Final

from vmjitter.trace.devices import device_name
from vmjitter.trace.events import Access, PageFault
from vmjitter.trace.intervals import Interval
from vmjitter.trace.rules.rule import Look
from vmjitter.trace.thread_states import Doing, State

_REGISTERS: Final = 0xFEC00000
"""From here to 4 GiB a PC has registers only: I/O APIC, HPET, local APIC, firmware."""

_4_GIB: Final = 1 << 32
_FAR_NS: Final = 1_000_000_000


def accessed(look: Look, state: State) -> str:
    """The register that was accessed after the exit that led to a state; empty if none was."""
    since, until = _work(look, state)
    last: Access | None = None
    for at in look.scene.accesses.between(since, until):
        if at.tid == look.scene.tid and isinstance(at.what, Access) and _better(at.what, last):
            last = at.what
    if last is None:
        return _faulted(look, since, until)
    name = last.name or device_name(last.kind, last.address)
    return f"{name}, {'write' if last.write else 'read'} at {last.address:#x}"


def _better(one: Access, before: Access | None) -> bool:
    """The last one counts, but QEMU's own, which has the name of the device, before KVM's."""
    return before is None or one.kind == "device" or before.kind != "device"


def _work(look: Look, state: State) -> Interval:
    """From the exit to the end of all that was done because of it."""
    until = state.end
    for later in look.scene.watched.between(state.end, state.end + _FAR_NS):
        if later.exit_ns != state.exit_ns or later.doing is Doing.GUEST:
            break
        until = later.end
    return (state.start if state.exit_ns < 0 else state.exit_ns, until)


def _faulted(look: Look, since: int, until: int) -> str:
    """KVM learns of a register by a page fault, too, before it knows that it is one."""
    for at in look.scene.faults.between(since, until):
        if at.tid == look.scene.tid and isinstance(at.what, PageFault):
            address = at.what.address
            if _REGISTERS <= address < _4_GIB:
                return f"{device_name('mmio', address)}, fault at {address:#x}"
    return ""
