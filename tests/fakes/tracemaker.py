"""Builds traces of a simulated guest, with disturbances of known kind, time and length.

The text is that of ftrace and of QEMU's log; all times are whole microseconds, which the text holds
exactly.  One virtual CPU (thread 101) on CPU 1 of the host; QEMU's main loop is thread 100.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

US = 1_000
MS = 1_000_000
MAIN, VCPU, PROBE, HOG, IOTHREAD, OURS = 100, 101, 77, 4711, 102, 103
CPU = 1
OFFSET_NS = 1_234_567_000  # the guest's clock minus the host's
REAL_NS = 1_700_000_000_000_000_000  # the wall clock minus the host's
LOCK = "0x55d0c0ffee00"

THREADS = {
    str(MAIN): {"role": "main loop", "name": "qemu-system-x86"},
    str(VCPU): {"role": "vcpu 0", "name": "CPU 0/KVM"},
    str(IOTHREAD): {"role": "iothread io0", "name": "IO io0"},
    str(OURS): {"role": "vmjitter", "name": "python3"},
}

Disturb = Callable[["TraceMaker", int], int]
"""Takes the time at which it begins, writes its events and returns the time at which it ends."""


@dataclass
class TraceMaker:
    """A trace that grows wake-up by wake-up.

    Attributes:
        now: host's clock, the end of what was written.
        phase_ns: wake-ups are planned for this after each multiple of the period.
        windows: planned time and latency of each wake-up, on the host's clock.
    """

    now: int = 10_000_000_000
    period_ns: int = MS
    phase_ns: int = 0
    windows: list[tuple[int, int]] = field(default_factory=list)
    own_actions: list[dict[str, object]] = field(default_factory=list)
    _host: list[tuple[int, str]] = field(default_factory=list)
    _guest: list[tuple[int, str]] = field(default_factory=list)
    _qemu: list[tuple[int, str]] = field(default_factory=list)

    # what each source writes

    def host(
        self, at: int, name: str, rest: str, *, task: str = f"CPU 0/KVM-{VCPU}", cpu: int = CPU
    ) -> None:
        self._host.append((at, f"{task:>22} [{cpu:03}] d..2. {_stamp(at)}: {name}: {rest}"))

    def guest(self, at: int, name: str, rest: str, *, task: str = f"probe-{PROBE}") -> None:
        self._guest.append((at, f"{task:>22} [000] d..2. {_stamp(at + OFFSET_NS)}: {name}: {rest}"))

    def qemu(self, at: int, name: str, rest: str, *, tid: int = VCPU) -> None:
        self._qemu.append((at, f"{tid}@{_stamp(at + REAL_NS)}:{name} {rest}"))

    def switch(self, at: int, before: str, state: str, after: str, *, cpu: int = CPU) -> None:
        """On the host, from one task to another, each as ``comm-tid-prio``."""
        self.host(
            at,
            "sched_switch",
            _switch(before, state, after),
            cpu=cpu,
            task=before.rpartition("-")[0],
        )

    def guest_switch(self, at: int, before: str, state: str, after: str) -> None:
        self.guest(
            at, "sched_switch", _switch(before, state, after), task=before.rpartition("-")[0]
        )

    # a wake-up

    def wakeup(self, **disturb: Disturb) -> tuple[int, int]:
        """One period: the guest idles, its timer goes off, the probe wakes up, the guest idles.

        Args:
            disturb: what happens, by where: "timer" (before the timer goes off), "queue" (after the
                virtual CPU was woken), "kvm" (before it enters the guest), "irq" (in the guest,
                before it serves the timer), "task" (after it woke the probe), "host" (while the
                probe runs on).

        Returns:
            The planned time and the latency.
        """
        passed = (self.now - self.phase_ns) // self.period_ns
        planned = (passed + 1) * self.period_ns + self.phase_ns
        step = {
            **dict.fromkeys(("timer", "queue", "kvm", "irq", "task", "host"), _nothing),
            **disturb,
        }
        at = self._fire(step["timer"](self, planned))
        at = step["queue"](self, at)
        self.switch(at + US, "swapper/1-0-120", "R", VCPU_TASK)
        self.host(at + 2 * US, "kvm_vcpu_wakeup", "wait time 900000 ns, polling valid")
        at = step["kvm"](self, at + 2 * US)
        self.host(at + US, "kvm_apic_accept_irq", "apicid 0 vec 236 (Fixed|edge)")
        self.host(at + 2 * US, "kvm_entry", "vcpu 0, rip 0xffffffff81000000")
        at = step["irq"](self, at + 2 * US)
        self.guest(at + US, "local_timer_entry", "vector=236", task="<idle>-0")
        self.guest(
            at + US,
            "hrtimer_expire_entry",
            "hrtimer=00000000abcd0002 function=hrtimer_wakeup now=1",
            task="<idle>-0",
        )
        self.guest(
            at + 2 * US,
            "sched_waking",
            f"comm=probe pid={PROBE} prio=19 target_cpu=000",
            task="<idle>-0",
        )
        self.guest(at + 2 * US, "local_timer_exit", "vector=236", task="<idle>-0")
        at = step["task"](self, at + 2 * US)
        self.guest_switch(at + US, "swapper/0-0-120", "R", f"probe-{PROBE}-19")
        at = step["host"](self, at + US) + US
        self._idle(at)
        self.windows.append((planned, at - planned))
        return planned, at - planned

    def _fire(self, at: int) -> int:
        """The host's timer goes off and wakes the virtual CPU."""
        idle = "<idle>-0"
        self.host(at + US, "local_timer_entry", "vector=236", task=idle)
        self.host(
            at + US,
            "hrtimer_expire_entry",
            "hrtimer=00000000abcd0001 function=apic_timer_fn now=1",
            task=idle,
        )
        self.host(
            at + 2 * US,
            "sched_waking",
            f"comm=CPU 0/KVM pid={VCPU} prio=98 target_cpu=001",
            task=idle,
        )
        self.host(at + 2 * US, "local_timer_exit", "vector=236", task=idle)
        return at + 2 * US

    def _idle(self, actual: int) -> None:
        self.guest_switch(actual + 5 * US, f"probe-{PROBE}-19", "S", "swapper/0-0-120")
        self.host(actual + 8 * US, "kvm_exit", "vcpu 0 reason HLT rip 0xffffffff81000000 info1 0x0")
        self.switch(actual + 10 * US, VCPU_TASK, "S", "swapper/1-0-120")
        self.now = actual + 10 * US

    # the files

    def files(self) -> dict[str, str]:
        """The text of each file of a trace directory."""
        return {
            "meta.json": json.dumps(self.meta()),
            "host.txt": "# tracer: nop\n#\n" + _text(self._host),
            "guest.txt": "# tracer: nop\n#\n" + _text(self._guest),
            "qemu.log": _text(self._qemu),
        }

    def meta(self, **changes: object) -> dict[str, object]:
        return {
            "format": 1,
            "rung": 1,
            "why": "",
            "clock": "mono",
            "qemu_pid": MAIN,
            "threads": THREADS,
            "probe_guest_tid": PROBE,
            "guest_tasks": {},
            "host_events": list(HOST_EVENTS),
            "host_missing": [],
            "guest_events": list(GUEST_EVENTS),
            "guest_missing": [],
            "qemu_events": list(QEMU_EVENTS),
            "lost": {"host": 0, "guest": 0},
            "own_actions": self.own_actions,
            "keep": "all",
            "notes": [],
            "realtime": [[REAL_NS, 0], [REAL_NS + 100_000_000_000, 100_000_000_000]],
            **changes,
        }


HOST_EVENTS = (
    "sched_switch", "sched_waking", "irq_handler_entry", "irq_handler_exit", "local_timer_entry",
    "softirq_entry", "softirq_exit", "hrtimer_start", "hrtimer_expire_entry", "cpu_idle",
    "kvm_entry", "kvm_exit", "kvm_userspace_exit", "kvm_pio", "kvm_mmio", "kvm_page_fault",
    "kvm_apic_accept_irq", "kvm_vcpu_wakeup", "block_rq_issue", "block_rq_complete",
)  # fmt: skip
GUEST_EVENTS = (
    "sched_switch", "sched_waking", "irq_handler_entry", "local_timer_entry", "softirq_entry",
    "hrtimer_expire_entry",
)  # fmt: skip
QEMU_EVENTS = (
    "qemu_mutex_lock",
    "qemu_mutex_locked",
    "qemu_mutex_unlock",
    "memory_region_ops_write",
)
VCPU_TASK = f"CPU 0/KVM-{VCPU}-98"
HOG_TASK = f"hog-{HOG}-49"


def _stamp(at: int) -> str:
    assert at % US == 0, at
    return f"{at // 10**9}.{at % 10**9 // US:06}"


def _switch(before: str, state: str, after: str) -> str:
    (comm, tid, prio), (comm2, tid2, prio2) = before.rsplit("-", 2), after.rsplit("-", 2)
    return (
        f"prev_comm={comm} prev_pid={tid} prev_prio={prio} prev_state={state} ==> "
        f"next_comm={comm2} next_pid={tid2} next_prio={prio2}"
    )


def _text(lines: list[tuple[int, str]]) -> str:
    return "".join(f"{line}\n" for _, line in sorted(lines, key=lambda pair: pair[0]))


def _nothing(_maker: TraceMaker, at: int) -> int:
    return at


# disturbances: each takes exactly ``ns`` of its cause


def preempted(ns: int, by: str = HOG_TASK) -> Disturb:
    """Where: "host"."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at, "kvm_exit", "vcpu 0 reason EXTERNAL_INTERRUPT rip 0x1 info1 0x0")
        maker.switch(at + US, VCPU_TASK, "R", by)
        maker.switch(at + US + ns, by, "S", VCPU_TASK)
        maker.host(at + 2 * US + ns, "kvm_entry", "vcpu 0, rip 0x1")
        return at + 2 * US + ns

    return write


def queued(ns: int) -> Disturb:
    """Where: "queue"; the CPU runs another thread, which was there before the wake-up."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.switch(at - US, "swapper/1-0-120", "R", HOG_TASK)
        maker.switch(at + ns, HOG_TASK, "S", VCPU_TASK)
        return at + ns - US  # the switch that follows comes 1 us later

    return write


def timer_late(ns: int) -> Disturb:
    """Where: "timer"; the CPU is awake and the timer comes late."""
    return lambda _maker, at: at + ns


def idle_exit(ns: int) -> Disturb:
    """Where: "timer"; the CPU sleeps that long into the planned time."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at - 100 * US, "cpu_idle", f"state=3 cpu_id={CPU}", task="<idle>-0")
        maker.host(at + ns, "cpu_idle", f"state=4294967295 cpu_id={CPU}", task="<idle>-0")
        return at + ns

    return write


def host_irq(ns: int, *, softirq: bool = False) -> Disturb:
    """Where: "host"."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at, "kvm_exit", "vcpu 0 reason EXTERNAL_INTERRUPT rip 0x1 info1 0x0")
        begin, end = (
            ("softirq_entry", "softirq_exit")
            if softirq
            else ("irq_handler_entry", "irq_handler_exit")
        )
        what = "vec=3 [action=NET_RX]" if softirq else "irq=36 name=eth0-rx-0"
        maker.host(at + US, begin, what)
        maker.host(at + US + ns, end, what if softirq else "irq=36 ret=handled")
        maker.host(at + 2 * US + ns, "kvm_entry", "vcpu 0, rip 0x1")
        return at + 2 * US + ns

    return write


def kvm_exit(ns: int, reason: str = "CPUID") -> Disturb:
    """Where: "host"."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at, "kvm_exit", f"vcpu 0 reason {reason} rip 0x1 info1 0x0")
        maker.host(at + ns, "kvm_entry", "vcpu 0, rip 0x1")
        return at + ns

    return write


def emulated(ns: int, port: int = 0x1F7, *, named: bool = False) -> Disturb:
    """Where: "host"; an access to a port."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at, "kvm_exit", "vcpu 0 reason IO_INSTRUCTION rip 0x1 info1 0x1f70000")
        maker.host(at + US, "kvm_pio", f"pio_write at {port:#x} size 1 count 1 val 0x20 ")
        maker.host(at + 2 * US, "kvm_userspace_exit", "reason KVM_EXIT_IO (2)")
        if named:
            maker.qemu(
                at + 3 * US,
                "memory_region_ops_write",
                f"cpu 0 mr 0x1 addr {port:#x} value 0x20 size 1 name 'ide'",
            )
        maker.host(at + 2 * US + ns, "kvm_entry", "vcpu 0, rip 0x1")
        return at + 2 * US + ns

    return write


def lock_wait(ns: int, holder_does: Mapping[str, str] | None = None) -> Disturb:
    """Where: "host"; the main loop has the big lock.

    Args:
        ns: of the wait.
        holder_does: "state" with which the main loop leaves its CPU meanwhile, if it does.
    """

    def write(maker: TraceMaker, at: int) -> int:
        place = "(../../softmmu/main-loop.c:297)"
        maker.qemu(at - 50 * US, "qemu_mutex_lock", f"waiting on mutex {LOCK} {place}", tid=MAIN)
        maker.qemu(at - 49 * US, "qemu_mutex_locked", f"taken mutex {LOCK} {place}", tid=MAIN)
        maker.host(at, "kvm_exit", "vcpu 0 reason IO_INSTRUCTION rip 0x1 info1 0x1f70000")
        maker.host(at + US, "kvm_userspace_exit", "reason KVM_EXIT_IO (2)")
        own = "(../../accel/kvm/kvm-all.c:2900)"
        maker.qemu(at + 2 * US, "qemu_mutex_lock", f"waiting on mutex {LOCK} {own}")
        maker.switch(at + 3 * US, VCPU_TASK, "S", "swapper/1-0-120")
        end = at + 2 * US + ns
        _holder(maker, at + 2 * US, end, (holder_does or {}).get("state"))
        maker.qemu(end - 2 * US, "qemu_mutex_unlock", f"released mutex {LOCK} {place}", tid=MAIN)
        maker.host(
            end - US,
            "sched_waking",
            f"comm=CPU 0/KVM pid={VCPU} prio=98 target_cpu=001",
            task=f"qemu-{MAIN}",
            cpu=0,
        )
        maker.switch(end - US, "swapper/1-0-120", "R", VCPU_TASK)
        maker.qemu(end, "qemu_mutex_locked", f"taken mutex {LOCK} {own}")
        maker.qemu(end + US, "qemu_mutex_unlock", f"released mutex {LOCK} {own}")
        maker.host(end + 2 * US, "kvm_entry", "vcpu 0, rip 0x1")
        return end + 2 * US

    return write


def _holder(maker: TraceMaker, start: int, end: int, state: str | None) -> None:
    if state is None:
        return
    main, other = f"qemu-{MAIN}-120", "nightly-900-49" if state == "R" else "swapper/0-0-120"
    if state == "D":
        maker.host(
            start,
            "block_rq_issue",
            "8,0 FWS 0 () 18446744073709551615 + 0 none,0,0 [qemu]",
            cpu=0,
            task=f"qemu-{MAIN}",
        )
    maker.switch(start, main, state, other, cpu=0)
    if state == "D":
        maker.host(
            end - 4 * US,
            "block_rq_complete",
            "8,0 FWS () 18446744073709551615 + 0 none,0,0 [0]",
            cpu=0,
            task="<idle>-0",
        )
        maker.host(
            end - 4 * US,
            "sched_waking",
            f"comm=qemu pid={MAIN} prio=120 target_cpu=000",
            cpu=0,
            task="<idle>-0",
        )
    maker.switch(end - 4 * US, other, "S", main, cpu=0)


def swapped(ns: int) -> Disturb:
    """Where: "host"; a page of the guest comes from the disk."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at, "kvm_exit", "vcpu 0 reason EPT_VIOLATION rip 0x1 info1 0x181")
        maker.host(
            at + US, "kvm_page_fault", "vcpu 0 rip 0x1 address 0x000000003f000000 error_code 0x181"
        )
        maker.host(at + 2 * US, "block_rq_issue", "8,0 R 4096 () 1000 + 8 none,0,0 [CPU 0/KVM]")
        maker.switch(at + 3 * US, VCPU_TASK, "D", "swapper/1-0-120")
        end = at + 3 * US + ns
        maker.host(end - US, "block_rq_complete", "8,0 R () 1000 + 8 none,0,0 [0]", task="<idle>-0")
        maker.host(
            end,
            "sched_waking",
            f"comm=CPU 0/KVM pid={VCPU} prio=98 target_cpu=001",
            task="<idle>-0",
        )
        maker.switch(end + US, "swapper/1-0-120", "R", VCPU_TASK)
        maker.host(end + 2 * US, "kvm_entry", "vcpu 0, rip 0x1")
        return end + 2 * US

    return write


def stands_still(ns: int) -> Disturb:
    """Where: "host"; nothing happens anywhere."""
    return lambda _maker, at: at + ns


def guest_irqs_off(ns: int) -> Disturb:
    """Where: "irq"; the guest does not take the interrupt that it has."""
    return lambda _maker, at: at + ns


def handed_over_late(ns: int) -> Disturb:
    """Where: "kvm"; the guest has interrupts off, and KVM waits until they are on again."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at + US, "kvm_entry", "vcpu 0, rip 0xffffffff81000000")
        maker.host(
            at + US + ns, "kvm_exit", "vcpu 0 reason INTERRUPT_WINDOW rip 0x1 info1 0x0 info2 0x0"
        )
        return at + US + ns

    return write


def guest_served(ns: int, *, softirq: bool) -> Disturb:
    """Where: "irq" for an interrupt, "task" for a softirq."""

    def write(maker: TraceMaker, at: int) -> int:
        begin, end = (
            ("softirq_entry", "softirq_exit")
            if softirq
            else ("irq_handler_entry", "irq_handler_exit")
        )
        what = "vec=3 [action=NET_RX]" if softirq else "irq=11 name=eth0"
        maker.guest(at, begin, what, task="<idle>-0")
        maker.guest(at + ns, end, what if softirq else "irq=11 ret=handled", task="<idle>-0")
        return at + ns

    return write


def guest_task(ns: int, prio: int = 1) -> Disturb:
    """Where: "task"."""

    def write(maker: TraceMaker, at: int) -> int:
        task = f"watchdogd-55-{prio}"
        maker.guest_switch(at, "swapper/0-0-120", "R", task)
        maker.guest_switch(at + ns, task, "S", "swapper/0-0-120")
        return at + ns

    return write


def own_action(ns: int) -> Disturb:
    """Where: "host"; vmjitter runs on the virtual CPU's CPU."""
    return preempted(ns, by=f"python3-{OURS}-120")


def kicked(ns: int) -> Disturb:
    """Where: "host"; a monitor command needs the virtual CPU's thread."""

    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at, "kvm_exit", "vcpu 0 reason EXTERNAL_INTERRUPT rip 0x1 info1 0x0")
        maker.host(at + US, "kvm_userspace_exit", "reason restart (10)")
        maker.qemu(
            at + 2 * US, "handle_qmp_command", 'mon 0x1 req: {"execute": "query-stats"}', tid=MAIN
        )
        maker.host(at + US + ns, "kvm_entry", "vcpu 0, rip 0x1")
        return at + US + ns

    return write


def both(first: Disturb, second: Disturb) -> Disturb:
    """One after the other."""
    return lambda maker, at: second(maker, first(maker, at))
