"""QEMU emulated an access to a register of a device, while the guest stood still."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.registers import accessed
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing

KICKS: Final = frozenset({"INTR", "restart"})
"""KVM_RUN returned because of a signal: no register was accessed (KVM API, section 5)."""


def _find(look: Look) -> Iterable[Finding]:
    for part, state in look.states(Doing.QEMU):
        if state.reason not in KICKS:
            yield Finding(*part, accessed(look, state) or f"exit {state.reason}")


RULE: Final = Rule(
    cause="device-emulation",
    title="device emulation in QEMU",
    side=Side.QEMU,
    needs=needs("host:kvm_userspace_exit qemu:kvm_run_exit", "host:kvm_entry qemu:kvm_vcpu_ioctl"),
    find=_find,
    knobs=("virtio-disk", "virtio-net", "vhost-net", "iothread"),
)
