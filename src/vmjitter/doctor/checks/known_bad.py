"""Releases of the kernel that are known to wake up late.

A distribution may have taken a repair into an older release; so what is certain from the release
alone is a problem, what only may be so is a note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok, problem
from vmjitter.doctor.kernel_view import KernelView, Version
from vmjitter.tuning.knob import Needs


@dataclass(frozen=True, kw_only=True)
class KnownBad:
    """One bug.

    Attributes:
        what: the bug, a sentence without a full stop.
        since: first release that has it.
        repaired: first release of the main line without it.
        stable: first repaired release of each stable series, by its first two numbers.
        certain: whether the release alone decides; else distributions may differ.
        applies: whether this machine can meet it at all.
    """

    id: str
    what: str
    since: Version
    repaired: Version
    cost: str
    cure: str
    source: str
    stable: tuple[Version, ...] = ()
    certain: bool = False
    applies: Callable[[KernelView], bool] = lambda _: True

    def affects(self, version: Version) -> bool:
        """Whether a release is in the range."""
        for first_good in self.stable:
            if version[:2] == first_good[:2]:
                return self.since <= version < first_good
        return self.since <= version < self.repaired


KNOWN_BAD: Final = (
    KnownBad(
        id="kernel-eevdf-starvation",
        what="The scheduler can leave runnable threads without any CPU time",
        since=(6, 18, 0),
        repaired=(6, 19, 0),
        stable=((6, 18, 45),),
        certain=True,
        cost="seconds: runnable tasks got 0 ms of 4.2 s while group entities were reweighted "
        "(seen on 6.18.44)",
        cure="upgrade to Linux 6.18.45 or later",
        source='Linux commit 101f3498b4bd, "sched/fair: Revert 6d71a9c61604"; '
        "ejc3/fcvm pull requests 938 and 940",
    ),
    KnownBad(
        id="kernel-5-15-rt-idle",
        what="With PREEMPT_RT 5.15 a vCPU's core has been seen idle while the vCPU was due",
        since=(5, 15, 0),
        repaired=(5, 16, 0),
        applies=lambda view: view.realtime,
        cost="over 40 ms in the guest, where 4.19 had about 60 us",
        cure="use another release of the PREEMPT_RT kernel, and measure",
        source="seapath/meta-seapath issue 57; linux-rt-users, message 25928",
    ),
    KnownBad(
        id="kernel-ktimers-not-woken",
        what="A timer that expires while softirqs run may wait for the next tick",
        since=(5, 14, 0),
        repaired=(6, 2, 0),
        applies=lambda view: view.realtime,
        cost="up to one tick, 1 to 10 ms",
        cure="use a PREEMPT_RT kernel with "
        '"softirq: Wake ktimers thread also in softirq" (February 2023)',
        source="CentOS Stream kernel, merge request 2543 (40efd84fb5de)",
    ),
    KnownBad(
        id="kernel-hv-timer-lockup",
        what="After a long pause of a guest, its periodic timer catches up expiry by expiry",
        since=(4, 10, 0),
        repaired=(6, 19, 0),
        stable=(
            (5, 10, 248),
            (5, 15, 198),
            (6, 1, 160),
            (6, 6, 120),
            (6, 12, 64),
            (6, 18, 4),
        ),
        applies=lambda view: view.read("/sys/module/kvm_intel/parameters/preemption_timer") == "Y",
        cost="the host's CPU can lock up when a guest that was paused goes on",
        cure="upgrade the kernel, or load kvm_intel with preemption_timer=0",
        source="CVE-2025-71104, Linux commit 18ab3fc8e880",
    ),
    KnownBad(
        id="kernel-lapic-timer-migration",
        what="A guest's timer can be moved to another CPU when nohz_full is used",
        since=(3, 10, 0),
        repaired=(4, 6, 0),
        applies=lambda view: bool(view.option("nohz_full")),
        cost="milliseconds",
        cure="upgrade to Linux 4.6 or later; until then sysctl -w kernel.timer_migration=0",
        source="Linux commit 61abdbe0bcc2",
    ),
    KnownBad(
        id="kernel-timer-advance-nested",
        what="KVM's adaptive timer advance has no limit, and runs away where KVM is nested",
        since=(4, 20, 0),
        repaired=(5, 1, 0),
        applies=lambda view: "hypervisor" in view.cpu_flags,
        cost="timers arrive up to hundreds of milliseconds early or late",
        cure="upgrade to Linux 5.1 or later, which stops at 5000 ns",
        source="Linux commit 57bf67e73ce9",
    ),
    KnownBad(
        id="kernel-vmstat-on-isolated-cpus",
        what="The kernel's vmstat work also interrupts CPUs that are set aside",
        since=(3, 0, 0),
        repaired=(6, 5, 0),
        applies=lambda view: bool(view.option("nohz_full") or view.option("isolcpus")),
        cost="over 50 us in the guest, every vm.stat_interval seconds",
        cure="upgrade to Linux 6.5 or later; until then sysctl -w vm.stat_interval=10",
        source="Linux commit be5e015d107d; CentOS Stream kernel, merge request 2753",
    ),
)


def _look(bug: KnownBad, view: KernelView) -> Answer:
    if view.version is None:
        return Unseen(why="/proc/sys/kernel/osrelease cannot be read")
    if not bug.applies(view):
        return None
    evidence = view.shown_release
    if not bug.affects(view.version):
        return ok(f"Not in this release: {bug.what}", evidence)
    if bug.certain:
        return problem(bug.what, evidence)
    return note(bug.what, f"{evidence}; the distribution may have repaired it")


def _check(bug: KnownBad) -> Check[KernelView]:
    return Check(
        id=bug.id,
        asks=f"A release with this bug? {bug.what}.",
        reads=("/proc/sys/kernel/osrelease",),
        cost=bug.cost,
        cure=bug.cure,
        source=bug.source,
        needs=Needs.HOST,
        look=lambda view: _look(bug, view),
    )


CHECKS: Final = tuple(_check(bug) for bug in KNOWN_BAD)
