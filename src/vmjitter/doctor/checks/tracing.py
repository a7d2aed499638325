"""What the host offers to find out why a wake-up was late."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok
from vmjitter.doctor.checks.kernel import NO_CONFIG
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

_TRACEFS: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_DEBUG_KVM: Final = "/sys/kernel/debug/kvm"
_TRACERS: Final = ("CONFIG_TIMERLAT_TRACER", "CONFIG_OSNOISE_TRACER", "CONFIG_KPROBES")
_DELAYS: Final = "/proc/sys/kernel/task_delayacct"


def _events(view: HostView) -> Answer:
    mounted = next((path for path in _TRACEFS if view.tree.exists(f"{path}/events")), "")
    if mounted and view.tree.exists(f"{mounted}/events/kvm"):
        return ok("Exits of guests can be traced", f"{mounted}/events/kvm exists")
    if mounted:
        return note("KVM has no events to trace", f"{mounted}/events/kvm does not exist")
    if not view.facts.root:
        return Unseen(why="root is needed to look into tracefs")
    return note("tracefs is not mounted", f"{_TRACEFS[0]}/events does not exist")


def _statistics(view: HostView) -> Answer:
    if view.tree.exists(_DEBUG_KVM):
        return ok("KVM's counters can be read", f"{_DEBUG_KVM} exists")
    if not view.facts.root:
        return Unseen(why="root is needed to look into debugfs")
    if not view.tree.exists("/dev/kvm"):
        return None
    return note("KVM's counters cannot be read", f"{_DEBUG_KVM} does not exist")


def _tracers(view: HostView) -> Answer:
    if not view.config:
        return Unseen(why=NO_CONFIG)
    missing = [name for name in _TRACERS if name not in view.config]
    if missing:
        return note(
            "Some ways to look for causes are missing",
            ", ".join(f"{name} is not set" for name in missing),
        )
    return ok("timerlat, osnoise and probes are there", ", ".join(f"{n}=y" for n in _TRACERS))


def _accounting(view: HostView) -> Answer:
    missing = []
    if view.built("CONFIG_SCHED_INFO") is False:
        missing.append("CONFIG_SCHED_INFO is not set")
    if view.read(_DELAYS) == "0":
        missing.append(view.show(_DELAYS))
    if not view.tree.exists("/proc/pressure/cpu"):
        missing.append("/proc/pressure does not exist")
    if missing:
        return note("The kernel does not say how long threads wait", ", ".join(missing))
    return ok("The kernel says how long threads wait", "delay accounting and pressure are on")


CHECKS: Final = (
    Check[HostView](
        id="trace-events",
        asks="Can exits of guests be traced?",
        reads=tuple(f"{path}/events/kvm" for path in _TRACEFS),
        cost="a late wake-up cannot be explained by what the host did",
        cure="mount -t tracefs tracefs /sys/kernel/tracing, with a kernel that has CONFIG_FTRACE=y",
        source="Documentation/trace/events.rst",
        look=_events,
    ),
    Check[HostView](
        id="kvm-statistics",
        asks="Can KVM's counters be read?",
        reads=(_DEBUG_KVM,),
        cost="exits cannot be counted by reason, and halt polling not judged",
        cure="mount -t debugfs debugfs /sys/kernel/debug",
        source="Documentation/virt/kvm/api.rst; kvm_stat(1)",
        look=_statistics,
    ),
    Check[HostView](
        id="tracers",
        asks="Are timerlat, osnoise and probes there?",
        reads=("the kernel's configuration",),
        cost="rtla cannot be used beside vmjitter, nor can most tools of bcc and bpftrace",
        cure="install a kernel with CONFIG_TIMERLAT_TRACER=y CONFIG_OSNOISE_TRACER=y "
        "CONFIG_KPROBES=y",
        source="Documentation/trace/timerlat-tracer.rst",
        needs=Needs.HOST,
        look=_tracers,
    ),
    Check[HostView](
        id="delay-accounting",
        asks="Does the kernel say how long threads wait?",
        reads=(_DELAYS, "/proc/pressure/cpu", "the kernel's configuration"),
        cost="the cheapest evidence for contention is missing",
        cure="sysctl -w kernel.task_delayacct=1; boot with psi=1",
        source="Documentation/accounting/delay-accounting.rst, psi.rst",
        look=_accounting,
    ),
)
