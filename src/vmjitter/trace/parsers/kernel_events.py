"""What the kernel prints of each tracepoint that a rule needs.

The formats are those of ``print fmt`` in the tracepoints' ``format`` files of Linux 6.18, checked
with recordings; older forms, such as ``kvm_exit`` without ``vcpu``, are read, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from sys import intern
from typing import Final

from vmjitter.trace.events import (
    Access,
    Begin,
    CpuIdle,
    DiskEnd,
    DiskStart,
    End,
    Entry,
    Exit,
    Injected,
    Marker,
    Noise,
    PageFault,
    Switch,
    TimerFires,
    TimerSet,
    UserExit,
    Waking,
    What,
    Woken,
)

Reader = Callable[[re.Match[str]], What]


def _switch(m: re.Match[str]) -> What:
    return Switch(
        int(m[2]), intern(m[1]), int(m[3]), intern(m[4]), int(m[6]), intern(m[5]), int(m[7])
    )


def _waking(m: re.Match[str]) -> What:
    return Waking(int(m[2]), m[1], int(m[3]), int(m[4]))


def _address(digits: str | None) -> int:
    return int(digits, 16) if digits else -1


def _begin(kind: str, prefix: str = "") -> Reader:
    return lambda m: Begin(kind, prefix + m[1], m[2])


def _end(kind: str, prefix: str = "") -> Reader:
    return lambda m: End(kind, prefix + m[1])


def _noise(kind: str) -> Reader:
    def read(m: re.Match[str]) -> What:
        return Noise(kind, m[1].strip(), int(m[2]))

    return read


_NOISE: Final = r"(.*?)(?::-?\d+)? ?start \d+\.\d{9} duration (\d+) ns"
_WAKING: Final = (r"comm=(.*) pid=(\d+) prio=(-?\d+)(?: success=\d)? target_cpu=(\d+)", _waking)

_FORMATS: Final[dict[str, tuple[str, Reader]]] = {
    "sched_switch": (
        (
            r"prev_comm=(.*) prev_pid=(\d+) prev_prio=(-?\d+) prev_state=(\S+) ==> "
            r"next_comm=(.*) next_pid=(\d+) next_prio=(-?\d+)"
        ),
        _switch,
    ),
    "sched_waking": _WAKING,
    "sched_wakeup": _WAKING,
    "kvm_entry": (r"vcpu \d+(?:, rip 0x([0-9a-f]+))?", lambda m: Entry(_address(m[1]))),
    "kvm_exit": (
        r"(?:vcpu \d+ )?reason (\S+)(?: rip 0x([0-9a-f]+))?",
        lambda m: Exit(intern(m[1]), _address(m[2])),
    ),
    "kvm_userspace_exit": (
        r"reason (?:KVM_EXIT_)?(\S+)",
        lambda m: UserExit(m[1]),
    ),
    "kvm_pio": (
        r"pio_(read|write) at 0x([0-9a-f]+)",
        lambda m: Access("pio", m[1] == "write", int(m[2], 16)),
    ),
    "kvm_mmio": (
        r"mmio (\S+) len \d+ gpa 0x([0-9a-f]+)",
        lambda m: Access("mmio", m[1] == "write", int(m[2], 16)),
    ),
    "kvm_page_fault": (
        r"(?:vcpu \d+ rip \S+ )?address (?:0x)?([0-9a-f]+)",
        lambda m: PageFault(int(m[1], 16)),
    ),
    "kvm_vcpu_wakeup": (r"(wait|poll) time (-?\d+) ns", lambda m: Woken(m[1] == "wait", int(m[2]))),
    "kvm_apic_accept_irq": (r"apicid [0-9a-f]+ vec (\d+)", lambda m: Injected(int(m[1]))),
    "kvm_inj_virq": (r"(?:IRQ|Soft/INTn|irq) (0x[0-9a-f]+|\d+)", lambda m: Injected(int(m[1], 0))),
    "irq_handler_entry": (r"irq=(\d+) name=(.*)", _begin("irq", "irq ")),
    "irq_handler_exit": (r"irq=(\d+) ret", _end("irq", "irq ")),
    "softirq_entry": (r"vec=(\d+) \[action=(\w+)\]", _begin("softirq")),
    "softirq_exit": (r"vec=(\d+) \[action", _end("softirq")),
    "irq_disable": (r"caller=(\S+?) ?(parent=.*)?$", lambda m: Begin("irqs-off", "", m[1])),
    "irq_enable": (r"caller=", lambda _: End("irqs-off", "")),
    "hrtimer_start": (
        r"hrtimer=(\S+) function=(\S+)(?: \[\w+\])? expires=(\d+)",
        lambda m: TimerSet(m[1], m[2], int(m[3])),
    ),
    "hrtimer_expire_entry": (
        r"hrtimer=(\S+) function=(\S+)(?: \[\w+\])?(?: now=\d+)?$",
        lambda m: TimerFires(m[1], m[2]),
    ),
    "cpu_idle": (r"state=(\d+) cpu_id=(\d+)", lambda m: CpuIdle(int(m[1]), int(m[2]))),
    "block_rq_issue": (
        r"(\d+,\d+) (\S+) \d+ \(.*\) (\d+) \+ (\d+)",
        lambda m: DiskStart(m[1], m[2], int(m[3]), int(m[4])),
    ),
    "block_rq_complete": (
        r"(\d+,\d+) \S+ \(.*\) (\d+) \+ \d+",
        lambda m: DiskEnd(m[1], int(m[2])),
    ),
    "thread_noise": (_NOISE, _noise("thread")),
    "irq_noise": (_NOISE, _noise("irq")),
    "softirq_noise": (_NOISE, _noise("softirq")),
    "nmi_noise": (_NOISE, _noise("nmi")),
    "tracing_mark_write": (r"(.*)", lambda m: Marker(m[1])),
}

_VECTORS: Final = (
    "local_timer", "reschedule", "call_function", "call_function_single", "irq_work",
    "x86_platform_ipi", "thermal_apic", "error_apic", "spurious_apic", "deferred_error_apic",
    "threshold_apic",
)  # fmt: skip
"""Interrupts of the processor itself have an event each (irq_vectors:*)."""


def _vector_formats() -> dict[str, tuple[str, Reader]]:
    formats: dict[str, tuple[str, Reader]] = {}
    for name in _VECTORS:
        formats[f"{name}_entry"] = (r"vector=(\d+)", _vector_begin(name))
        formats[f"{name}_exit"] = (r"vector=(\d+)", _end("irq", "vector "))
    return formats


def _vector_begin(name: str) -> Reader:
    return lambda m: Begin("irq", f"vector {m[1]}", name.replace("_", " "))


READERS: Final[dict[str, tuple[re.Pattern[str], Reader]]] = {
    name: (re.compile(pattern), reader)
    for name, (pattern, reader) in (_FORMATS | _vector_formats()).items()
}
"""Pattern of what stands behind the name, and what to make of it, by name of the event."""
