"""The virtual CPU waited for a lock of QEMU: who had it, and where that one had taken it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.lock_waits import lock_name, own_waits
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    for part, wait in own_waits(look):
        holder = look.scene.who(wait.holder_tid) if wait.holder_tid >= 0 else "not recorded"
        if not wait.lock:
            yield Finding(*part, f"slept in QEMU until {holder} woke it; the lock was not recorded")
            continue
        place = f", taken at {wait.holder_place}" if wait.holder_place else ""
        yield Finding(*part, f"{lock_name(look, wait)}; holder: {holder}{place}")


RULE: Final = Rule(
    cause="lock-wait",
    title="waited for QEMU's lock",
    side=Side.QEMU,
    needs=needs(
        "qemu:qemu_mutex_lock host:sched_waking",
        "qemu:qemu_mutex_locked host:sched_switch",
        "qemu:qemu_mutex_lock host:kvm_userspace_exit",
    ),
    find=_find,
    knobs=("iothread", "virtio-disk", "virtio-net", "vhost-net"),
)
