"""Which events are recorded, and which of them a kernel or a QEMU has.

What a kernel has is asked of the kernel (``available_events``), never told from its version.  Names
are in the kernel's ``include/trace/events/*.h`` and ``arch/x86/kvm/trace.h``, and in QEMU's
``trace-events`` files.  Left out is what comes often and says nothing about time, such as
``kvm_cr``, ``kvm_emulate_insn`` or ``softirq_raise``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from vmjitter.model.trace import EventSet
from vmjitter.units import NS_PER_S

_SCHED: Final = ("sched:sched_switch", "sched:sched_waking")
_INTERRUPTS: Final = (
    *("irq:irq_handler_entry", "irq:irq_handler_exit", "irq:softirq_entry", "irq:softirq_exit"),
    *("irq_vectors:local_timer_entry", "irq_vectors:local_timer_exit", "nmi:nmi_handler"),
)
_DEVICES: Final = ("block:block_rq_issue", "block:block_rq_complete", "napi:napi_poll")

HOST_LIGHT: Final = (
    *_SCHED,
    "sched:sched_migrate_task",
    *("irq:irq_handler_entry", "irq:irq_handler_exit", "nmi:nmi_handler"),
    *_DEVICES,
    "migrate:mm_migrate_pages",
    "vhost:*",
)
"""Who had a CPU, and what the disk did.  Nothing that comes with every exit or every timer."""

HOST_LEAN: Final = (
    *_SCHED,
    "sched:sched_migrate_task",
    *_INTERRUPTS,
    *("irq_vectors:reschedule_entry", "irq_vectors:reschedule_exit"),
    *("irq_vectors:call_function_entry", "irq_vectors:call_function_exit"),
    *("irq_vectors:call_function_single_entry", "irq_vectors:call_function_single_exit"),
    *("timer:hrtimer_start", "timer:hrtimer_expire_entry"),
    *("kvm:kvm_entry", "kvm:kvm_exit", "kvm:kvm_userspace_exit", "kvm:kvm_pio", "kvm:kvm_mmio"),
    *("kvm:kvm_page_fault", "kvm:kvm_unmap_hva_range", "kvm:kvm_hypercall"),
    *("kvm:kvm_inj_virq", "kvm:kvm_vcpu_wakeup"),
    *("power:cpu_idle", "exceptions:page_fault_user", "migrate:mm_migrate_pages"),
    *_DEVICES,
    "vhost:*",
)
HOST_DETAIL: Final = (
    "timer:hrtimer_expire_exit",
    *("kvm:kvm_msr", "kvm:kvm_set_irq", "kvm:kvm_msi_set_irq", "kvm:kvm_apic_accept_irq"),
    *("kvm:kvm_eoi", "kvm:kvm_pv_eoi", "kvm:kvm_halt_poll_ns"),
    *("kvm:kvm_wait_lapic_expire", "kvm:kvm_hv_timer_state"),
    *("net:net_dev_xmit", "net:netif_receive_skb"),
)
GUEST_LIGHT: Final = _SCHED
GUEST_LEAN: Final = (*_SCHED, *_INTERRUPTS, "timer:hrtimer_expire_entry", *_DEVICES)
GUEST_DETAIL: Final = (
    *("timer:hrtimer_start", "timer:hrtimer_expire_exit", "power:cpu_idle"),
    *("exceptions:page_fault_user", "exceptions:page_fault_kernel"),
)


_HOST: Final = {"light": HOST_LIGHT, "lean": HOST_LEAN, "full": (*HOST_LEAN, *HOST_DETAIL)}
_GUEST: Final = {"light": GUEST_LIGHT, "lean": GUEST_LEAN, "full": (*GUEST_LEAN, *GUEST_DETAIL)}


def host_events(events: EventSet) -> tuple[str, ...]:
    """What is wanted of the host's kernel."""
    return _HOST[events.value]


def guest_events(events: EventSet) -> tuple[str, ...]:
    """What is wanted of the guest's kernel."""
    return _GUEST[events.value]


DISPENSABLE: Final = ("power:cpu_idle",)
"""Left out where they come so often that they would displace everything else.

A processor that does not wait in MWAIT, such as Bochs', enters and leaves idle every microsecond.
"""
_STORM_PER_S: Final = 50_000

QEMU_EVENTS: Final = (
    *("qemu_mutex_lock", "qemu_mutex_locked", "qemu_mutex_unlock"),
    *("memory_region_ops_read", "memory_region_ops_write"),
    *("virtio_queue_notify", "virtio_notify", "virtio_notify_irqfd"),
    *("virtio_blk_handle_read", "virtio_blk_handle_write", "virtio_blk_req_complete"),
    *("blk_co_preadv", "blk_co_pwritev", "thread_pool_submit", "thread_pool_complete"),
    *("luring_do_submit", "luring_process_completion", "laio_io_submit"),
)


def choose(wanted: Sequence[str], available: Iterable[str]) -> tuple[list[str], list[str]]:
    """The wanted events that there are, and the wanted names that stand for none.

    Args:
        wanted: names; a star stands for any part of one.
        available: names that there are.
    """
    known = frozenset(available)
    matched = {name: _matches(name, known) for name in wanted}
    found = dict.fromkeys(event for events in matched.values() for event in events)
    return list(found), [name for name, events in matched.items() if not events]


def storms(text: str, length_ns: int, cpus: int) -> list[str]:
    """The dispensable events that came too often to be recorded.

    Args:
        text: what a ring held, in the kernel's text format.
        length_ns: how long it had recorded.
        cpus: of the host.
    """
    most = _STORM_PER_S * max(1, cpus) * length_ns / NS_PER_S
    return [name for name in DISPENSABLE if text.count(f": {name.partition(':')[2]}: ") > most]


def _matches(name: str, known: frozenset[str]) -> list[str]:
    if "*" in name:
        return sorted(one for one in known if fnmatchcase(one, name))
    return [name] if name in known else []
