"""Known remedies, by number, and what vmjitter has for each: a knob, a check, or both.

A check without a knob says how to change by hand what it finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One remedy.

    Attributes:
        number: stable; a letter behind it marks one that was put in later.
        what: in a few words.
        knobs: names of ours that apply it and take it back.
        checks: ids of checks that look whether it is in force, or could be.
    """

    number: str
    what: str
    knobs: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


_HOST_BOOT: Final = (
    Remedy(number="1", what="PREEMPT_RT on the host", checks=("preempt-rt", "preemption-model")),
    Remedy(number="2", what="CPUs set aside, isolcpus", checks=("isolated-cpus",)),
    Remedy(number="3", what="no tick on the guest's CPUs", checks=("tick",)),
    Remedy(number="4", what="RCU callbacks elsewhere", checks=("rcu-callbacks",)),
    Remedy(number="5", what="no expedited RCU", knobs=("rcu-normal",), checks=("rcu-expedited",)),
    Remedy(
        number="6",
        what="interrupts of devices elsewhere",
        knobs=("irqs-elsewhere",),
        checks=("interrupt-placement", "managed-interrupts", "vm-vcpus-interrupted"),
    ),
    Remedy(
        number="7", what="ticks out of step, a TSC that is trusted", checks=("tick-skew", "tsc")
    ),
    Remedy(
        number="8",
        what="no penalty for split locks",
        knobs=("split-lock-mitigation-off",),
        checks=("split-lock",),
    ),
    Remedy(
        number="9",
        what="mitigations of processor flaws off",
        checks=("mitigations", "cache-flush-on-entry"),
    ),
    Remedy(
        number="10",
        what="no deep sleep states",
        knobs=("cstates-off", "pm-qos"),
        checks=("sleep-states",),
    ),
    Remedy(
        number="11",
        what="a fixed frequency",
        knobs=("governor-performance",),
        checks=("frequency-governor", "turbo"),
    ),
    Remedy(number="12", what="SMT off", knobs=("smt-off",), checks=("smt",)),
    Remedy(number="13", what="a pool of huge pages", knobs=("huge-pages",), checks=("huge-pages",)),
    Remedy(number="14", what="a part of the cache of one's own", checks=("shared-cache",)),
)
_HOST: Final = (
    Remedy(
        number="15",
        what="real-time throttling off, on the host and in the guest",
        knobs=("rt-throttling-off", "guest-rt-throttling-off"),
        checks=("realtime-throttling", "guest-realtime-throttling"),
    ),
    Remedy(
        number="16",
        what="a real-time budget for QEMU's control group",
        knobs=("rt-group-budget",),
        checks=("realtime-group-budget", "realtime-policy"),
    ),
    Remedy(
        number="17",
        what="no merging of pages",
        knobs=("ksm-off", "mem-merge-off"),
        checks=("page-merging", "vm-page-merging"),
    ),
    Remedy(
        number="18",
        what="NUMA balancing off",
        knobs=("numa-balancing-off",),
        checks=("numa-balancing",),
    ),
    Remedy(
        number="19",
        what="no transparent huge pages",
        knobs=("thp-never",),
        checks=("transparent-huge-pages",),
    ),
    Remedy(
        number="20", what="nothing of the guest swapped out", knobs=("mem-lock",), checks=("swap",)
    ),
    Remedy(
        number="21",
        what="less work of the kernel on the guest's CPUs",
        knobs=("vmstat-rare", "watchdog-off", "mce-poll-off", "workqueues-elsewhere"),
        checks=("vmstat", "watchdogs", "machine-check-polling", "workqueues"),
    ),
    Remedy(
        number="22",
        what="timers stay on their CPU",
        knobs=("timer-migration-off",),
        checks=("timer-migration",),
    ),
    Remedy(
        number="23",
        what="no patching of code when sockets begin to stamp times",
        knobs=("timestamp-guard",),
        checks=("static-keys",),
    ),
    Remedy(number="24", what="priorities of the kernel's threads", knobs=("kthreads-fifo",)),
    Remedy(
        number="25",
        what="no quota on CPU time",
        knobs=("cgroup-quota-off",),
        checks=("cpu-quota", "vm-cpu-quota"),
    ),
    Remedy(
        number="26",
        what="no release of the kernel with a known bug",
        checks=("kernel-eevdf-starvation", "kernel-5-15-rt-idle", "kernel-lapic-timer-migration"),
    ),
)
_KVM: Final = (
    Remedy(
        number="27",
        what="polling of a vCPU that halts",
        knobs=("halt-polling-off", "halt-polling-1ms"),
        checks=("halt-polling",),
    ),
    Remedy(
        number="28",
        what="no periodic update of the guest's clock",
        knobs=("kvmclock-sync-off",),
        checks=("kvmclock-sync",),
    ),
    Remedy(
        number="29",
        what="no splitting of huge pages for code",
        knobs=("nx-huge-pages-off",),
        checks=("nx-huge-pages",),
    ),
    Remedy(
        number="29b",
        what="no exits for loops of PAUSE",
        knobs=("pause-loop-exits-off",),
        checks=("pause-loop-exits",),
    ),
    Remedy(number="29c", what="timers injected from another CPU", checks=("timer-injection",)),
    Remedy(number="29d", what="the LAPIC's timer a little early", checks=("timer-advance",)),
    Remedy(number="29e", what="the shortest periodic timer", checks=("timer-period",)),
    Remedy(number="29f", what="interrupts delivered without exits", checks=("posted-interrupts",)),
)
_QEMU: Final = (
    Remedy(
        number="30",
        what="memory in huge pages, touched before the start",
        knobs=("huge-pages", "prealloc"),
        checks=("vm-huge-pages", "vm-prealloc"),
    ),
    Remedy(
        number="31",
        what="memory locked",
        knobs=("mem-lock",),
        checks=("vm-swap", "memory-lock-limit"),
    ),
    Remedy(number="32", what="HLT without an exit", knobs=("cpu-pm",), checks=("vm-cpu-pm",)),
    Remedy(
        number="33",
        what="what the guest sees of the processor",
        knobs=("cpu-rt-flags", "cpu-dedicated"),
        checks=("vm-cpu-flags", "vm-hyperv", "tsc-deadline"),
    ),
    Remedy(
        number="34",
        what="interrupt controller in the kernel",
        checks=("vm-interrupt-controller",),
    ),
    Remedy(
        number="35",
        what="no devices that are not needed",
        checks=("vm-spare-devices", "vm-hpet", "vm-balloon"),
    ),
    Remedy(
        number="36",
        what="lost ticks of the interval timer stay lost",
        knobs=("pit-discard",),
        checks=("vm-lost-ticks",),
    ),
    Remedy(number="37", what="lost ticks of the clock chip stay lost", checks=("vm-clock-drift",)),
    Remedy(number="38", what="QEMU's threads have names", checks=("vm-thread-names",)),
    Remedy(
        number="39",
        what="a virtio disk with a thread of its own and asynchronous requests",
        knobs=("virtio-disk", "iothread", "aio-native", "aio-io-uring"),
        checks=("vm-disk-device", "vm-disk-iothread", "io-uring"),
    ),
    Remedy(number="39b", what="no polling in the disk's thread", checks=("vm-disk-polling",)),
    Remedy(
        number="40",
        what="a process of its own serves the disk",
        knobs=("vhost-user-blk",),
        checks=("vm-disk-process",),
    ),
    Remedy(
        number="41",
        what="the kernel moves packets, vhost-net",
        knobs=("vhost-net", "virtio-net"),
        checks=("vm-vhost", "vm-network-device", "vhost-net", "tap"),
    ),
    Remedy(
        number="42", what="a process of its own moves packets, vhost-user", checks=("vm-vhost",)
    ),
    Remedy(
        number="43",
        what="no emulated serial port",
        knobs=("console-none", "console-virtio", "guest-printk-quiet"),
        checks=("vm-console", "guest-console"),
    ),
    Remedy(number="44", what="the disk of a noisy guest throttled", checks=("vm-disk-throttled",)),
    Remedy(
        number="45",
        what="cache mode of the disk",
        knobs=("cache-direct", "cache-writeback"),
        checks=("vm-disk-cache", "vm-disk-unsafe"),
    ),
)
_THREADS: Final = (
    Remedy(
        number="46",
        what="CPU and priority of vCPUs",
        knobs=("vcpu-pin", "vcpu-fifo"),
        checks=("vm-vcpus-pinned", "vm-vcpus-realtime", "vm-vcpus-isolated"),
    ),
    Remedy(
        number="47",
        what="CPUs and priority of QEMU's main loop",
        knobs=("emulator-pin", "emulator-fifo", "qemu-fifo-max"),
        checks=("vm-emulator-cpus", "vm-main-loop-starved"),
    ),
    Remedy(
        number="48",
        what="CPUs and priority of the disk's threads",
        knobs=("iothread-fifo", "emulator-pin"),
        checks=("vm-emulator-cpus",),
    ),
    Remedy(
        number="49",
        what="CPUs and priority of vhost's workers",
        knobs=("vhost-pin", "vhost-fifo"),
        checks=("vm-vhost-cpus", "vm-vhost-realtime", "vhost-worker"),
    ),
    Remedy(
        number="50",
        what="priority of KVM's own threads",
        knobs=("kvm-pit-rr",),
        checks=("vm-pit-thread",),
    ),
)
_GUEST: Final = (
    Remedy(
        number="51",
        what="PREEMPT_RT in the guest",
        knobs=("guest-kernel-rt", "guest-kernel-stock"),
        checks=("guest-preempt-rt",),
    ),
    Remedy(number="52", what="a vCPU set aside in the guest", checks=("guest-isolation",)),
    Remedy(
        number="53",
        what="the guest polls when it is idle",
        knobs=("guest-idle-poll",),
        checks=("guest-idle",),
    ),
    Remedy(
        number="54",
        what="the guest's interrupts on another vCPU",
        knobs=("guest-irq-affinity",),
    ),
    Remedy(
        number="55",
        what="a clock that the guest reads fast",
        knobs=("guest-tsc-reliable",),
        checks=("guest-clocksource", "guest-tsc", "guest-timer"),
    ),
    Remedy(
        number="56",
        what="less work of the guest's kernel",
        knobs=("guest-mce-off", "guest-watchdog-off", "guest-timer-migration-off"),
        checks=("guest-machine-checks", "guest-watchdogs", "guest-timer-migration"),
    ),
)

REMEDIES: Final = (*_HOST_BOOT, *_HOST, *_KVM, *_QEMU, *_THREADS, *_GUEST)
