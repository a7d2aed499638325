"""The guest's clock, timers and idle loop."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok
from vmjitter.doctor.checks.clock import CLOCKSOURCE, clocksource
from vmjitter.doctor.kernel_view import KernelView
from vmjitter.tuning.knob import Needs

_DRIVER: Final = "/sys/devices/system/cpu/cpuidle/current_driver"
_POLL: Final = "/sys/module/haltpoll/parameters/guest_halt_poll_ns"
_TIMER_MIGRATION: Final = "/proc/sys/kernel/timer_migration"


def _reliable(view: KernelView) -> Answer:
    if view.read(CLOCKSOURCE) != "tsc":
        return None
    if view.option("tsc") == "reliable" or "tsc_known_freq" in view.cpu_flags:
        return ok("The guest does not doubt its TSC", "tsc=reliable, or the flag tsc_known_freq")
    return note("The guest checks its TSC against other clocks", "/proc/cmdline: no tsc=reliable")


def _idle(view: KernelView) -> Answer:
    if view.option("idle") == "poll":
        return ok("The guest's idle loop spins", "/proc/cmdline: idle=poll")
    driver = view.read(_DRIVER)
    if driver == "haltpoll":
        poll = f", {view.show(_POLL)}" if view.read(_POLL) else ""
        return ok("The guest polls before it halts", f"{view.show(_DRIVER)}{poll}")
    return note("The guest halts as soon as it is idle", f"{_DRIVER} = {driver or 'none'}")


def _deadline(view: KernelView) -> Answer:
    if not view.x86:
        return None
    if "tsc_deadline_timer" in view.cpu_flags:
        return ok("The guest's timer takes a deadline", "/proc/cpuinfo: tsc_deadline_timer")
    return note("The guest's timer has no deadline mode", "/proc/cpuinfo lacks tsc_deadline_timer")


def _migration(view: KernelView) -> Answer:
    if len(view.online) < 2 or view.read(_TIMER_MIGRATION) is None:
        return None
    if view.read(_TIMER_MIGRATION) == "0":
        return ok("The guest's timers stay on their vCPU", view.show(_TIMER_MIGRATION))
    return note("The guest's timers may be moved to another vCPU", view.show(_TIMER_MIGRATION))


CHECKS: Final = (
    Check[KernelView](
        id="guest-clocksource",
        asks="Is the guest's clock fast to read?",
        reads=(CLOCKSOURCE,),
        cost="an exit for every read of the time",
        cure="-cpu host,+invtsc; boot the guest with tsc=reliable if the host's TSC is sound",
        source="propolis issue 328; ovm issue 21",
        knob="guest-tsc-reliable",
        look=clocksource,
    ),
    Check[KernelView](
        id="guest-tsc",
        asks="Does the guest check its TSC against other clocks?",
        reads=("/proc/cmdline", "/proc/cpuinfo"),
        cost="a pause of the host can make it give up the TSC, and read slow clocks from then on",
        cure="boot the guest with tsc=reliable",
        source="Documentation/admin-guide/kernel-parameters.txt, tsc=; propolis issue 328",
        knob="guest-tsc-reliable",
        look=_reliable,
    ),
    Check[KernelView](
        id="guest-timer",
        asks="Has the guest's timer a deadline mode?",
        reads=("/proc/cpuinfo",),
        cost="timers are set with the resolution of the local APIC, and may be periodic",
        cure="-cpu host,+tsc-deadline",
        source="libvirt knowledge base, KVM real time",
        knob="cpu-rt-flags",
        look=_deadline,
    ),
    Check[KernelView](
        id="guest-idle",
        asks="What does the guest do when it is idle?",
        reads=(_DRIVER, "/proc/cmdline"),
        cost="each halt is an exit, and each wake-up goes through the host's scheduler",
        cure="boot the guest with idle=poll (takes the whole CPU), or -cpu host,"
        "kvm-hint-dedicated=on for haltpoll",
        source="Linux commit 2cffe9f6b96f; Documentation/virt/guest-halt-polling.rst",
        knob="guest-idle-poll",
        look=_idle,
    ),
    Check[KernelView](
        id="guest-timer-migration",
        asks="Can a timer move to another vCPU?",
        reads=(_TIMER_MIGRATION,),
        cost="a wake-up comes from another vCPU, by an interrupt between them: 3 to 4 us or more",
        cure="sysctl -w kernel.timer_migration=0 in the guest",
        source="tuned, profile network-latency; ACRN, real-time tips",
        knob="guest-timer-migration-off",
        needs=Needs.NOTHING,
        look=_migration,
    ),
)
