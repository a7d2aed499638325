"""QEMU called the virtual CPU's thread back to itself, without an access to a device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.events import Request
from vmjitter.trace.rules.device_emulation import KICKS
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing


def _find(look: Look) -> Iterable[Finding]:
    for part, state in look.states(Doing.QEMU):
        if state.reason in KICKS:
            yield Finding(*part, _why(look, part))


def _why(look: Look, part: tuple[int, int]) -> str:
    for at in look.scene.requests.within(part):
        if isinstance(at.what, Request) and "qmp" in at.what.name:
            return f"a monitor command: {at.what.text.partition('req: ')[2][:60] or at.what.name}"
    return "kicked by another thread"


RULE: Final = Rule(
    cause="qemu-work",
    title="QEMU's own work on the virtual CPU's thread",
    side=Side.QEMU,
    needs=needs("host:kvm_userspace_exit qemu:kvm_run_exit", "host:kvm_entry qemu:kvm_vcpu_ioctl"),
    find=_find,
    advice="send no monitor commands while it counts; query-stats needs QEMU 8.1",
)
