"""The host's clock."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok, problem
from vmjitter.doctor.kernel_view import KernelView
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

CLOCKSOURCE: Final = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
_AVAILABLE: Final = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
_FAST: Final = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"})
"""Read without leaving the processor, or the guest."""
_EARLY: Final = frozenset({"tsc-early", "jiffies", "refined-jiffies"})


def clocksource(view: KernelView) -> Answer:
    """Of the host, or of a guest."""
    found = view.read(CLOCKSOURCE)
    if found is None:
        return None
    evidence = f"{view.show(CLOCKSOURCE)}; available: {view.read(_AVAILABLE)}"
    if found in _FAST:
        return ok("The clock is read fast", evidence)
    if found in _EARLY:
        return note("The kernel still uses a clock for its start", evidence)
    return problem(f"The clock is '{found}', which is slow to read", evidence)


def _stable(view: HostView) -> Answer:
    if not view.x86:
        return None
    missing = {"constant_tsc", "nonstop_tsc"} - view.cpu_flags
    if missing:
        return note(
            "The TSC may change its rate or stop",
            f"/proc/cpuinfo lacks {', '.join(sorted(missing))}",
        )
    return ok("The TSC runs at one rate", "/proc/cpuinfo: constant_tsc, nonstop_tsc")


def _deadline(view: HostView) -> Answer:
    if not view.x86:
        return None
    if "tsc_deadline_timer" in view.cpu_flags:
        return ok("The timer takes a deadline of the TSC", "/proc/cpuinfo: tsc_deadline_timer")
    return note("The timer has no deadline mode", "/proc/cpuinfo lacks tsc_deadline_timer")


CHECKS: Final = (
    Check[KernelView](
        id="clocksource",
        asks="Is the clock fast to read?",
        reads=(CLOCKSOURCE,),
        cost="about a microsecond for each read on bare metal, an exit for each in a guest; guests "
        "lose kvm-clock's fast path as well",
        cure="find in dmesg why the TSC was marked unstable, repair the firmware, or boot with "
        "tsc=reliable if it is sound",
        source="propolis issue 328; cloudpods issue 16956",
        needs=Needs.HOST,
        look=clocksource,
    ),
    Check[HostView](
        id="tsc",
        asks="Does the TSC run at one rate, and always?",
        reads=("/proc/cpuinfo",),
        cost="the kernel falls back to a slower clock sooner or later",
        cure="use a processor with an invariant TSC; in a virtual machine: -cpu host,+invtsc",
        source="Documentation/virt/kvm/x86/timekeeping.rst",
        needs=Needs.HOST,
        look=_stable,
    ),
    Check[HostView](
        id="tsc-deadline",
        asks="Has the timer a deadline mode?",
        reads=("/proc/cpuinfo",),
        cost="timers are set with the resolution of the local APIC's own clock",
        cure="use a processor with TSC-deadline; in a virtual machine: -cpu host,+tsc-deadline",
        source="libvirt knowledge base, KVM real time",
        needs=Needs.HOST,
        look=_deadline,
    ),
)
