"""Parameters of the KVM modules; they hold for all guests of the host."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok, warning
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

_KVM: Final = "/sys/module/kvm/parameters"
_HALT_POLL: Final = f"{_KVM}/halt_poll_ns"
_NX: Final = f"{_KVM}/nx_huge_pages"
_NX_PERIOD: Final = f"{_KVM}/nx_huge_pages_recovery_period_ms"
_SYNC: Final = f"{_KVM}/kvmclock_periodic_sync"
_ADVANCE: Final = f"{_KVM}/lapic_timer_advance"
_ADVANCES: Final = "/sys/kernel/debug/kvm/*/vcpu*/lapic_timer_advance_ns"
_INJECT: Final = f"{_KVM}/pi_inject_timer"
_PERIOD: Final = f"{_KVM}/min_timer_period_us"
_PLE: Final = "/sys/module/kvm_intel/parameters/ple_gap"
_DEFAULT_PERIOD_US: Final = 200
_ADVANCE_LIMIT_NS: Final = 5000
"""Beyond it, KVM takes its own adaptation for broken (Linux, arch/x86/kvm/lapic.c)."""
_OFF: Final = frozenset({"N", "0", "off", "never"})


def _halt_polling(view: HostView) -> Answer:
    value = view.number(_HALT_POLL)
    if value is None:
        return None
    if value == 0:
        return ok("A vCPU that halts does not keep its CPU busy", view.show(_HALT_POLL))
    return note(
        f"A vCPU that halts keeps its CPU busy for up to {value // 1000} us",
        view.show(_HALT_POLL),
    )


def _nx(view: HostView) -> Answer:
    value = view.read(_NX)
    if value is None:
        return None
    if value in _OFF:
        return ok("KVM does not split guests' huge pages", view.show(_NX))
    period = f", {view.show(_NX_PERIOD)}" if view.read(_NX_PERIOD) else ""
    return warning("KVM splits guests' huge pages and joins them again", view.show(_NX) + period)


def _sync(view: HostView) -> Answer:
    value = view.read(_SYNC)
    if value is None:
        return None
    if value in _OFF:
        return ok("vCPUs are not interrupted for their clock", view.show(_SYNC))
    return note("All vCPUs are interrupted for their clock every five minutes", view.show(_SYNC))


def _pause_loop(view: HostView) -> Answer:
    value = view.read(_PLE)
    if value is None:
        return None
    if value == "0":
        return ok("A vCPU that waits for a lock stays in the guest", view.show(_PLE))
    return note("A vCPU that spins for a lock leaves the guest", view.show(_PLE))


def _advance(view: HostView) -> Answer:
    value = view.read(_ADVANCE)
    if value is None:
        return None
    if not view.virtual:
        if value in _OFF:
            return note(
                "KVM does not set the guest's timer earlier to make up for its own time",
                view.show(_ADVANCE),
            )
        return ok("KVM makes up for its own time when it sets a timer", view.show(_ADVANCE))
    return _nested_advance(view)


def _nested_advance(view: HostView) -> Answer:
    paths = view.tree.match(_ADVANCES)
    if not paths:
        return Unseen(
            why="root and a running guest are needed to read lapic_timer_advance_ns in debugfs"
        )
    found = {path: view.number(path) or 0 for path in paths}
    path = max(found, key=lambda one: found[one])
    evidence = f"{path} = {found[path]}"
    if found[path] > _ADVANCE_LIMIT_NS:
        return warning(
            "KVM sets the guest's timer far too early, since it is nested itself",
            evidence,
            cost=f"timers come {found[path]} ns early",
        )
    return ok("KVM's timer advance is within its limit", evidence)


def _inject(view: HostView) -> Answer:
    value = view.read(_INJECT)
    if value is None:
        return None
    if value in {"1", "Y"}:
        return ok("Timers are delivered from other CPUs without an exit", view.show(_INJECT))
    return note("A guest's timer expires on the vCPU's CPU, with an exit", view.show(_INJECT))


def _period(view: HostView) -> Answer:
    value = view.number(_PERIOD)
    if value is None:
        return None
    if value <= _DEFAULT_PERIOD_US:
        return ok("The shortest period of a guest's timer is the default", view.show(_PERIOD))
    return note(f"Guests' periodic timers have periods of {value} us at least", view.show(_PERIOD))


CHECKS: Final = (
    Check[HostView](
        id="nx-huge-pages",
        asks="Does KVM split and join guests' huge pages?",
        reads=(_NX, _NX_PERIOD),
        cost="storms of exits of about 100 us on all vCPUs at once when pages are joined again",
        cure=f"echo off > {_NX}, if no guest has to be mistrusted (iTLB multihit)",
        source="Documentation/admin-guide/hw-vuln/multihit.rst; tuned commit e4a0e48, issue 363",
        knob="nx-huge-pages-off",
        look=_nx,
    ),
    Check[HostView](
        id="halt-polling",
        asks="Does a vCPU that halts keep its CPU busy?",
        reads=(_HALT_POLL,),
        cost="burns the host's CPU while the guest idles, and saves a few microseconds per wake-up "
        "if the period is shorter: which is better shows only by measuring both",
        cure=f"echo 0 > {_HALT_POLL}; compare with 200000",
        source="Documentation/virt/kvm/halt-polling.rst; firecracker issue 3043",
        knob="halt-polling-off",
        look=_halt_polling,
    ),
    Check[HostView](
        id="kvmclock-sync",
        asks="Are vCPUs interrupted for their clock?",
        reads=(_SYNC,),
        cost="one interrupt of every vCPU each 300 s",
        cure="load kvm with kvmclock_periodic_sync=0, or boot with kvm.kvmclock_periodic_sync=0",
        source="tuned, profile realtime-virtual-host",
        knob="kvmclock-sync-off",
        look=_sync,
    ),
    Check[HostView](
        id="pause-loop-exits",
        asks="Does a vCPU that spins leave the guest?",
        reads=(_PLE,),
        cost="exits while the guest waits for a lock, of no use to a vCPU with a CPU of its own",
        cure="load kvm_intel with ple_gap=0",
        source="tuned, profile realtime-virtual-host",
        knob="pause-loop-exits-off",
        look=_pause_loop,
    ),
    Check[HostView](
        id="timer-advance",
        asks="Does KVM set the guest's timer earlier by the right amount?",
        reads=(_ADVANCE, f"{_ADVANCES}, by root"),
        cost="3 to 4 us for each timer without it",
        cure="load kvm with lapic_timer_advance=1; nested, where it runs away, with 0",
        source="tuned commit 51c50a3; Linux commits b6c4bc659c6f, 57bf67e73ce9",
        needs=Needs.MODULE,
        look=_advance,
    ),
    Check[HostView](
        id="timer-injection",
        asks="Can a timer reach the guest without an exit?",
        reads=(_INJECT,),
        cost="one exit for each timer; can be avoided only with posted interrupts and CPUs set "
        "aside (nobody has published how much it brings)",
        cure=f"echo 1 > {_INJECT}, with nohz_full and posted interrupts; measure both",
        source="Documentation/admin-guide/kernel-parameters.txt, kvm.pi_inject_timer",
        look=_inject,
    ),
    Check[HostView](
        id="timer-period",
        asks="How short may a guest's periodic timer be?",
        reads=(_PERIOD,),
        cost="a guest whose local APIC is in periodic mode gets its ticks late",
        cure=f"echo {_DEFAULT_PERIOD_US} > {_PERIOD}; better: -cpu host,+tsc-deadline",
        source="Linux, arch/x86/kvm/x86.c, min_timer_period_us",
        look=_period,
    ),
)
