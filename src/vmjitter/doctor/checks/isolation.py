"""Whether a guest can have CPUs of its own."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok, warning
from vmjitter.doctor.view import HostView
from vmjitter.effects.threads import cpu_list
from vmjitter.tuning.knob import Needs

ISOLATED: Final = "/sys/devices/system/cpu/isolated"
NOHZ_FULL: Final = "/sys/devices/system/cpu/nohz_full"
_WORKQUEUES: Final = "/sys/devices/virtual/workqueue/cpumask"
_TIMER_MIGRATION: Final = "/proc/sys/kernel/timer_migration"


def _count(view: HostView) -> Answer:
    evidence = view.show("/sys/devices/system/cpu/online")
    if not view.online:
        return Unseen(why="/sys/devices/system/cpu/online cannot be read")
    if len(view.online) == 1:
        return warning("There is one CPU only", evidence)
    return ok(f"There are {len(view.online)} CPUs", evidence)


def _isolated(view: HostView) -> Answer:
    if len(view.online) < 2:
        return None
    if not view.isolated:
        return warning("No CPU is set aside for guests", view.show(ISOLATED))
    if view.online <= view.isolated:
        return warning(
            "No CPU is left to everything else",
            f"{view.show(ISOLATED)}, {view.show('/sys/devices/system/cpu/online')}",
            cost="QEMU's main loop and the kernel's own work run beside the vCPUs",
            cure="leave at least one CPU out of isolcpus",
        )
    return ok("CPUs are set aside for guests", view.show(ISOLATED))


def _tick(view: HostView) -> Answer:
    if not view.isolated:
        return None
    full = view.cpus(NOHZ_FULL)
    evidence = f"{view.show(NOHZ_FULL)}, {view.show(ISOLATED)}"
    left = view.isolated - full
    if left:
        return note(f"The tick goes on on the guests' CPUs {cpu_list(left)}", evidence)
    return ok("The tick stops on the guests' CPUs", evidence)


def _callbacks(view: HostView) -> Answer:
    if not view.isolated:
        return None
    if view.built("CONFIG_RCU_NOCB_CPU") is False:
        return note(
            "RCU's callbacks run on the guests' CPUs",
            "CONFIG_RCU_NOCB_CPU is not set",
            cure="install a kernel with CONFIG_RCU_NOCB_CPU=y, then boot with rcu_nocbs=",
        )
    if view.option("rcu_nocbs") is None and not view.option("nohz_full"):
        return note(
            "RCU's callbacks run on the guests' CPUs", "/proc/cmdline has no rcu_nocbs=, nohz_full="
        )
    chosen = view.option("rcu_nocbs")
    evidence = f"rcu_nocbs={chosen}" if chosen else f"nohz_full={view.option('nohz_full')}"
    return ok("RCU's callbacks run elsewhere", f"/proc/cmdline: {evidence}")


def _expedited(view: HostView) -> Answer:
    path = "/sys/kernel/rcu_normal"
    if view.read(path) is None:
        return None
    if view.read(path) == "1" or view.realtime:
        why = view.show(path) + (", PREEMPT_RT" if view.realtime else "")
        return ok("RCU does not interrupt CPUs to be faster", why)
    return note("RCU may interrupt all CPUs to end a grace period at once", view.show(path))


def _migration(view: HostView) -> Answer:
    if view.read(_TIMER_MIGRATION) is None:
        return None
    if view.read(_TIMER_MIGRATION) == "0":
        return ok("A timer stays on the CPU that set it", view.show(_TIMER_MIGRATION))
    return note("Timers may be moved to a busy CPU", view.show(_TIMER_MIGRATION))


def _workqueues(view: HostView) -> Answer:
    mask = view.read(_WORKQUEUES)
    if not view.isolated or mask is None:
        return None
    try:
        bits = int(mask.replace(",", ""), 16)
    except ValueError:
        return Unseen(why=f"{view.show(_WORKQUEUES)}, which is no mask")
    shared = {cpu for cpu in view.isolated if bits >> cpu & 1}
    if shared:
        return note(
            f"The kernel's unbound work may run on the guests' CPUs {cpu_list(shared)}",
            view.show(_WORKQUEUES),
        )
    return ok("The kernel's unbound work runs elsewhere", view.show(_WORKQUEUES))


def _skew(view: HostView) -> Answer:
    if len(view.online) < 2 or (view.isolated and view.isolated <= view.cpus(NOHZ_FULL)):
        return None
    if view.option("skew_tick") == "1":
        return ok("Ticks of different CPUs come at different times", "/proc/cmdline: skew_tick=1")
    return note("The ticks of all CPUs come at the same time", "/proc/cmdline has no skew_tick=1")


CHECKS: Final = (
    Check[HostView](
        id="cpu-count",
        asks="Is there a CPU for everything but the guest?",
        reads=("/sys/devices/system/cpu/online",),
        cost="a vCPU shares it with QEMU's main loop: as a real-time thread it starves that loop "
        "and the guest never boots",
        cure="use a host with at least two CPUs",
        source="seapath/ansible issue 438",
        needs=Needs.HOST,
        look=_count,
    ),
    Check[HostView](
        id="isolated-cpus",
        asks="Are CPUs set aside for guests?",
        reads=(ISOLATED,),
        cost="the scheduler puts other programs beside the vCPUs; a host that was not tuned at all "
        "gave 5 to 31 ms in a real-time guest",
        cure="boot with isolcpus=managed_irq,domain,LIST nohz_full=LIST rcu_nocbs=LIST, LIST the "
        "guests' CPUs",
        source="libvirt knowledge base, KVM real time; OscarShiang's report",
        needs=Needs.HOST,
        look=_isolated,
    ),
    Check[HostView](
        id="tick",
        asks="Does the periodic tick stop on the guests' CPUs?",
        reads=(NOHZ_FULL,),
        cost="an interrupt, and so an exit, each 1 to 10 ms while the vCPU runs",
        cure="boot with nohz=on nohz_full=LIST, LIST the guests' CPUs",
        source="Documentation/timers/no_hz.rst; tuned, profile realtime-virtual-host",
        needs=Needs.HOST,
        look=_tick,
    ),
    Check[HostView](
        id="rcu-callbacks",
        asks="Do RCU's callbacks run on the guests' CPUs?",
        reads=("/proc/cmdline", "the kernel's configuration"),
        cost="work of the kernel on the vCPU's CPU, some microseconds at a time",
        cure="boot with rcu_nocbs=LIST rcu_nocb_poll, LIST the guests' CPUs",
        source="Documentation/admin-guide/kernel-per-CPU-kthreads.rst; ACRN, real-time tips",
        needs=Needs.HOST,
        look=_callbacks,
    ),
    Check[HostView](
        id="rcu-expedited",
        asks="May RCU interrupt the guests' CPUs?",
        reads=("/sys/kernel/rcu_normal",),
        cost="an interrupt of all CPUs, also of those set aside, now and then",
        cure="echo 1 > /sys/kernel/rcu_normal; rcupdate.rcu_normal_after_boot=1 for good",
        source="tuned commit cbcd1df, profile network-latency",
        knob="rcu-normal",
        look=_expedited,
    ),
    Check[HostView](
        id="timer-migration",
        asks="Can a timer be moved to another CPU?",
        reads=(_TIMER_MIGRATION,),
        cost="a timer of QEMU or the kernel may expire on the vCPU's CPU, or far from it",
        cure="sysctl -w kernel.timer_migration=0",
        source="tuned, profile network-latency; ACRN, real-time tips",
        knob="timer-migration-off",
        look=_migration,
    ),
    Check[HostView](
        id="workqueues",
        asks="Does the kernel's unbound work run on the guests' CPUs?",
        reads=(_WORKQUEUES,),
        cost="work of the kernel beside the vCPU, microseconds to milliseconds",
        cure=f"echo MASK > {_WORKQUEUES}, MASK the other CPUs in hexadecimal",
        source="Documentation/core-api/workqueue.rst; tuned, profile realtime",
        knob="workqueues-elsewhere",
        look=_workqueues,
    ),
    Check[HostView](
        id="tick-skew",
        asks="Do the ticks of all CPUs come at once?",
        reads=("/proc/cmdline",),
        cost="CPUs wait for each other's locks in the tick",
        cure="boot with skew_tick=1",
        source="Documentation/admin-guide/kernel-parameters.txt, skew_tick; tuned, profile "
        "network-latency",
        needs=Needs.HOST,
        look=_skew,
    ),
)
