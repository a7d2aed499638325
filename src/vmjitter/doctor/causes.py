"""Known causes of late wake-ups, by what one sees, and which checks look for each.

Some cannot be seen before a measurement; those say why, and what shows them then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One cause.

    Attributes:
        seen: what one sees.
        cause: what makes it so.
        checks: ids of checks that look for it, for its condition, or for its remedy.
        only_while_running: why a check alone cannot find it; empty if one can.
    """

    seen: str
    cause: str
    checks: tuple[str, ...] = ()
    only_while_running: str = ""


CAUSES: Final = (
    Cause(
        seen="SCHED_FIFO is refused with EPERM, also for root",
        cause="the control group has no real-time budget",
        checks=("realtime-policy", "realtime-group-budget"),
    ),
    Cause(
        seen="gaps of about 50 ms in every second",
        cause="real-time throttling",
        checks=("realtime-throttling", "guest-realtime-throttling"),
    ),
    Cause(
        seen="1 to 10 ms although the host is perfect",
        cause="the guest's kernel is not PREEMPT_RT",
        checks=("guest-preempt-rt",),
    ),
    Cause(
        seen="the guest never boots, 100 % CPU",
        cause="a real-time vCPU on the CPU of QEMU's main loop",
        checks=("vm-main-loop-starved", "cpu-count"),
    ),
    Cause(
        seen="late packets although vhost was given a priority",
        cause="since Linux 6.4 vhost's worker is a task of QEMU",
        checks=("vhost-worker", "vm-vhost-realtime"),
    ),
    Cause(
        seen="late packets under load of the host",
        cause="vhost's worker shares a CPU with other work",
        checks=("vm-vhost-cpus",),
    ),
    Cause(
        seen="40 ms, while the vCPU's core is idle",
        cause="a regression of PREEMPT_RT 5.15",
        checks=("kernel-5-15-rt-idle",),
    ),
    Cause(
        seen="a timer comes at the next tick only",
        cause="the threads for timers were not woken",
        checks=("kernel-ktimers-not-woken",),
    ),
    Cause(
        seen="milliseconds on a host with nohz_full",
        cause="the guest's timer was moved to another CPU",
        checks=("kernel-lapic-timer-migration", "timer-migration"),
    ),
    Cause(
        seen="about 100 us on all vCPUs at once",
        cause="KVM joins huge pages again that it had split",
        checks=("nx-huge-pages",),
    ),
    Cause(
        seen="over 50 us, every second or so",
        cause="the kernel's vmstat work on the vCPU's CPU",
        checks=("vmstat", "kernel-vmstat-on-isolated-cpus"),
    ),
    Cause(
        seen="over 50 us when the guest is monitored",
        cause="QMP's query-stats interrupts the vCPUs",
        checks=("qemu",),
        only_while_running="whether a tool asks shows only in QMP's traffic",
    ),
    Cause(
        seen="the host is slow, the vCPU hot, many interrupts between CPUs",
        cause="NUMA balancing unmaps the guest's memory",
        checks=("numa-balancing",),
    ),
    Cause(
        seen="multiples of 10 ms",
        cause="punishment for misaligned atomic accesses",
        checks=("split-lock",),
    ),
    Cause(
        seen="long stalls while the guest logs",
        cause="an exit per byte of an emulated serial port",
        checks=("vm-console", "guest-console"),
    ),
    Cause(
        seen="threads that could run get no CPU time",
        cause="a bug of the scheduler in Linux 6.18",
        checks=("kernel-eevdf-starvation",),
    ),
    Cause(
        seen="the first access after a quiet time is very slow",
        cause="the guest's memory is swapped out",
        checks=("swap", "memory-lock-limit", "vm-swap"),
    ),
    Cause(
        seen="allocations in the guest take twice as long",
        cause="free page reporting of the balloon",
        checks=("vm-balloon",),
    ),
    Cause(
        seen="a burst of writes takes a second",
        cause="first use of memory, or copy on write",
        checks=("vm-prealloc", "huge-pages", "vm-huge-pages"),
    ),
    Cause(
        seen="all guests suffer when the host's disks are busy",
        cause="cache=unsafe fills the page cache",
        checks=("vm-disk-unsafe", "vm-disk-cache"),
    ),
    Cause(
        seen="the guest waits for its disk during a backup",
        cause="copies before writes block the guest's writes",
        only_while_running="a backup is not there beforehand: QMP's query-jobs shows it while it "
        "runs; keep backups out of the time that matters, or throttle them",
    ),
    Cause(
        seen="the guest freezes, all iowait",
        cause="the queue of a slow disk is full",
        checks=("vm-disk-format", "vm-disk-device"),
        only_while_running="how full the queue gets depends on the load",
    ),
    Cause(
        seen="reading the time is slow after some event",
        cause="the TSC was given up for a slow clock",
        checks=("clocksource", "tsc", "guest-clocksource", "guest-tsc", "vm-hpet"),
    ),
    Cause(
        seen="the host's core is busy although the guest is idle",
        cause="halt polling",
        checks=("halt-polling",),
    ),
    Cause(
        seen="short stops at regular distances",
        cause="a quota on CPU time",
        checks=("cpu-quota", "vm-cpu-quota"),
    ),
    Cause(
        seen="a spike when a profile is applied",
        cause="queues of network cards are reset, interrupts redistributed",
        checks=("tool-tuned", "tool-irqbalance"),
        only_while_running="the moment is known only to the tool; vmjitter's own changes carry "
        "their time and lie outside the measured phase",
    ),
    Cause(
        seen="interrupts at random on a CPU that is set aside",
        cause="patched code, expedited grace periods of RCU",
        checks=("rcu-expedited", "static-keys"),
    ),
    Cause(
        seen="the host locks up after a guest was paused for long",
        cause="a periodic timer catches up expiry by expiry",
        checks=("kernel-hv-timer-lockup",),
    ),
    Cause(
        seen="a timer comes absurdly early or late, nested",
        cause="adaptive timer advance runs away",
        checks=("timer-advance", "kernel-timer-advance-nested", "nested-host"),
    ),
    Cause(
        seen="milliseconds, then 150 us with devices passed through",
        cause="emulated interrupt controller, interrupts of virtio devices",
        checks=("posted-interrupts", "vm-interrupt-controller"),
        only_while_running="how much it is shows only in the mix of exits of a measurement",
    ),
    Cause(
        seen="pinning made it worse",
        cause="the CPU has interrupts, vhost or other work",
        checks=(
            "interrupt-placement",
            "managed-interrupts",
            "vm-vcpus-interrupted",
            "vm-emulator-cpus",
        ),
    ),
    Cause(
        seen="some microseconds, again and again",
        cause="the guest's loop executes CPUID, or writes registers that leave the guest",
        only_while_running="it is in the guest's program: exit reasons in the window of a late "
        "wake-up show it",
        checks=("guest-timer",),
    ),
    Cause(
        seen="unexplained, on all CPUs",
        cause="the firmware's system management interrupts",
        checks=("firmware-interrupts",),
        only_while_running="they can only be counted (MSR 0x34) or measured (hwlat) while they "
        "happen; the check says whether this kernel can",
    ),
    Cause(
        seen="late only while a neighbour works",
        cause="shared cache and memory bandwidth",
        checks=("shared-cache", "smt"),
        only_while_running="how much it is shows only with and without the neighbour's load",
    ),
    Cause(
        seen="5 to 31 ms in a real-time guest",
        cause="the host is not tuned at all",
        checks=("isolated-cpus", "tick", "rcu-callbacks", "preempt-rt"),
    ),
    Cause(
        seen="the same guest is worse in a container platform",
        cause="its threads are in other control groups, on other CPUs",
        checks=("vm-cpu-quota", "vm-vcpus-isolated", "realtime-group-budget"),
    ),
)
