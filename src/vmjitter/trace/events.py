"""The events of a trace, as typed records.

An event has a time on the clock of its source; `vmjitter.trace.clock` places it on the host's.
Field names follow the kernel's tracepoints (``events/*/*/format`` in tracefs) and QEMU's
``trace-events``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

IDLE_ENDS: Final = 0xFFFFFFFF
"""``cpu_idle`` with this state: the CPU is awake (PWR_EVENT_EXIT, include/trace/events/power.h)."""


class Source(StrEnum):
    """Who recorded an event."""

    HOST = "host"
    GUEST = "guest"
    QEMU = "qemu"


class Switch(NamedTuple):
    """``sched_switch``; priorities as the kernel counts: 0 to 98 real-time, 100 to 139 others."""

    prev_tid: int
    prev_comm: str
    prev_prio: int
    prev_state: str
    next_tid: int
    next_comm: str
    next_prio: int


class Waking(NamedTuple):
    """``sched_waking`` or ``sched_wakeup``."""

    tid: int
    comm: str
    prio: int
    cpu: int


class Entry(NamedTuple):
    """``kvm_entry``: the guest runs from here on, at the instruction ``rip``; -1 if not told."""

    rip: int = -1


class Exit(NamedTuple):
    """``kvm_exit``, at the instruction ``rip``; -1 if not told."""

    reason: str
    rip: int = -1


class UserExit(NamedTuple):
    """``kvm_userspace_exit``: QEMU runs from here on."""

    reason: str


class Access(NamedTuple):
    """``kvm_pio``, ``kvm_mmio`` or ``memory_region_ops_*``.

    Attributes:
        kind: "pio" or "mmio"; "device" if QEMU named the device.
        name: of the device; empty in the host's trace.
    """

    kind: str
    write: bool
    address: int
    name: str = ""


class PageFault(NamedTuple):
    """``kvm_page_fault``: of the second level."""

    address: int


class Woken(NamedTuple):
    """``kvm_vcpu_wakeup``: a halted virtual CPU goes on.

    Attributes:
        waited: it slept; else it polled.
    """

    waited: bool
    ns: int


class Injected(NamedTuple):
    """``kvm_apic_accept_irq`` or ``kvm_inj_virq``: an interrupt is handed to the guest."""

    vector: int


class Begin(NamedTuple):
    """Something with an end begins on a CPU.

    Attributes:
        kind: "irq", "softirq" or "irqs-off".
        key: what its end has, too.
        name: for people.
    """

    kind: str
    key: str
    name: str


class End(NamedTuple):
    """What `Begin` began has ended."""

    kind: str
    key: str


class TimerSet(NamedTuple):
    """``hrtimer_start``; ``expires_ns`` on the clock of the source."""

    timer: str
    function: str
    expires_ns: int


class TimerFires(NamedTuple):
    """``hrtimer_expire_entry``."""

    timer: str
    function: str


class CpuIdle(NamedTuple):
    """``cpu_idle``: ``state`` is that of the idle driver, or `IDLE_ENDS`."""

    state: int
    cpu: int


class DiskStart(NamedTuple):
    """``block_rq_issue``."""

    device: str
    what: str
    sector: int
    sectors: int


class DiskEnd(NamedTuple):
    """``block_rq_complete``."""

    device: str
    sector: int


class Noise(NamedTuple):
    """An event of the osnoise tracer: something took this long and has just ended."""

    kind: str
    name: str
    duration_ns: int


class TimerLatency(NamedTuple):
    """A line of the timerlat tracer."""

    context: str
    latency_ns: int


class LockWait(NamedTuple):
    """``qemu_mutex_lock``: asks for a lock."""

    lock: str
    place: str


class LockTaken(NamedTuple):
    """``qemu_mutex_locked``."""

    lock: str
    place: str


class LockFreed(NamedTuple):
    """``qemu_mutex_unlock``."""

    lock: str


class RunBegins(NamedTuple):
    """``kvm_vcpu_ioctl`` with KVM_RUN, in QEMU's own trace: QEMU hands over to KVM."""


class Request(NamedTuple):
    """A request of a disk or a command, in QEMU's own trace."""

    name: str
    text: str


class Lost(NamedTuple):
    """The ring had no room for so many events before ``until_ns``."""

    events: int
    until_ns: int


class Marker(NamedTuple):
    """``tracing_mark_write``: a text from a program."""

    text: str


class Other(NamedTuple):
    """An event that no rule needs; it counts as a sign of life."""

    name: str


What = (
    Switch
    | Waking
    | Entry
    | Exit
    | UserExit
    | Access
    | PageFault
    | Woken
    | Injected
    | Begin
    | End
    | TimerSet
    | TimerFires
    | CpuIdle
    | DiskStart
    | DiskEnd
    | Noise
    | TimerLatency
    | LockWait
    | LockTaken
    | LockFreed
    | RunBegins
    | Request
    | Lost
    | Marker
    | Other
)


class Event(NamedTuple):
    """One event.

    Attributes:
        time_ns: when; see the module.
        source: who recorded it.
        order: its place in what the source wrote; it decides between equal times.
        cpu: where; -1 if the source does not say.
        tid: the thread that ran; 0 is the idle task.
        comm: its name, or empty.
    """

    time_ns: int
    source: Source
    order: int
    cpu: int
    tid: int
    comm: str
    what: What


def priority_text(prio: int) -> str:
    """Policy and priority behind the kernel's number (MAX_RT_PRIO, include/linux/sched/prio.h).

    ``sched_switch`` does not tell FIFO from RR.
    """
    if prio < 0:
        return "deadline"
    if prio < 100:
        return f"real-time {99 - prio}"
    return f"nice {prio - 120}"
