"""The kernel and how it was built."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, blocker, note, ok, problem, warning
from vmjitter.doctor.kernel_view import KernelView
from vmjitter.tuning.knob import Needs

_DEBUG_OPTIONS: Final = (
    "CONFIG_PROVE_LOCKING",
    "CONFIG_LOCKDEP",
    "CONFIG_DEBUG_PREEMPT",
    "CONFIG_KASAN",
    "CONFIG_KCSAN",
    "CONFIG_DEBUG_OBJECTS",
    "CONFIG_SLUB_DEBUG_ON",
)
NO_CONFIG: Final = (
    "the kernel's configuration is nowhere: /proc/config.gz, /boot/config-*, /lib/modules/*/config"
)


def build_of(view: KernelView) -> str:
    """Release and build of a kernel, as evidence."""
    return f"{view.show('/proc/sys/kernel/osrelease')}; version = {view.build}"


def _realtime(view: KernelView) -> Answer:
    if view.realtime:
        return ok("The kernel is PREEMPT_RT", build_of(view))
    return warning("The kernel is not PREEMPT_RT", build_of(view))


def _preemption(view: KernelView) -> Answer:
    if view.realtime:
        return None
    if not view.config:
        return Unseen(why=NO_CONFIG)
    chosen = view.option("preempt")
    if chosen is not None and "CONFIG_PREEMPT_DYNAMIC" in view.config:
        return _preemption_found(chosen, f"/proc/cmdline: preempt={chosen}")
    for name in ("PREEMPT_LAZY", "PREEMPT_VOLUNTARY", "PREEMPT_NONE", "PREEMPT"):
        if f"CONFIG_{name}" in view.config:
            return _preemption_found(name.partition("_")[2].lower() or "full", f"CONFIG_{name}=y")
    return Unseen(why="the configuration names no model of preemption")


def _preemption_found(model: str, evidence: str) -> Answer:
    if model == "full":
        return ok("The kernel can be preempted in most places", evidence)
    seen = problem if model == "none" else warning
    return seen(f"The kernel's preemption is '{model}', not 'full'", evidence)


def _debugging(view: KernelView) -> Answer:
    if not view.config:
        return Unseen(why=NO_CONFIG)
    found = [name for name in _DEBUG_OPTIONS if name in view.config]
    if not found:
        return ok("The kernel was built without costly debugging", "none of the options is set")
    return problem("The kernel was built for debugging", ", ".join(f"{name}=y" for name in found))


def _high_resolution(view: KernelView) -> Answer:
    off = view.option("highres") == "off"
    if off or view.built("CONFIG_HIGH_RES_TIMERS") is False:
        evidence = "/proc/cmdline: highres=off" if off else "CONFIG_HIGH_RES_TIMERS is not set"
        return blocker("Timers have the resolution of the tick only", evidence)
    if not view.config:
        return Unseen(why=NO_CONFIG)
    return ok("Timers have a high resolution", "CONFIG_HIGH_RES_TIMERS=y")


def _built_for(view: KernelView) -> Answer:
    if not view.config:
        return Unseen(why=NO_CONFIG)
    wanted = ("CONFIG_NO_HZ_FULL", "CONFIG_RCU_NOCB_CPU", "CONFIG_CPU_ISOLATION")
    lacking = [name for name in wanted if name not in view.config]
    if lacking:
        return note(
            "The kernel lacks what a CPU of a guest's own needs",
            ", ".join(f"{name} is not set" for name in lacking),
        )
    return ok("The kernel can give a guest CPUs of its own", ", ".join(f"{w}=y" for w in wanted))


CHECKS: Final = (
    Check[KernelView](
        id="high-resolution-timers",
        asks="Can timers expire between two ticks?",
        reads=("the kernel's configuration", "/proc/cmdline"),
        cost="every wake-up waits for the next tick, up to 10 ms",
        cure="boot without highres=off, with a kernel that has CONFIG_HIGH_RES_TIMERS=y",
        source="Documentation/timers/highres.rst",
        needs=Needs.HOST,
        look=_high_resolution,
    ),
    Check[KernelView](
        id="preempt-rt",
        asks="Is the host's kernel PREEMPT_RT?",
        reads=("/sys/kernel/realtime", "/proc/sys/kernel/version"),
        cost="sections that cannot be preempted delay a vCPU by tens of microseconds to "
        "milliseconds under load",
        cure="install a real-time kernel, such as linux-image-rt-amd64 of Debian or kernel-rt",
        source="libvirt knowledge base, KVM real time; needed but not enough: "
        "seapath/meta-seapath issue 57",
        needs=Needs.HOST,
        look=_realtime,
    ),
    Check[KernelView](
        id="preemption-model",
        asks="Can the host's kernel be preempted?",
        reads=("the kernel's configuration", "/proc/cmdline"),
        cost="a vCPU waits until a long system call of another program ends, which can take "
        "milliseconds",
        cure="boot with preempt=full (CONFIG_PREEMPT_DYNAMIC), or a PREEMPT_RT kernel",
        source="Documentation/admin-guide/kernel-parameters.txt, preempt=",
        needs=Needs.HOST,
        look=_preemption,
    ),
    Check[KernelView](
        id="kernel-debugging",
        asks="Was the kernel built for debugging?",
        reads=("the kernel's configuration",),
        cost="every lock and every allocation takes several times as long",
        cure="install the distribution's ordinary kernel",
        source="Documentation/dev-tools/kasan.rst; Documentation/locking/lockdep-design.rst",
        needs=Needs.HOST,
        look=_debugging,
    ),
    Check[KernelView](
        id="kernel-isolation-support",
        asks="Can the kernel keep its own work off some CPUs?",
        reads=("the kernel's configuration",),
        cost="nohz_full, rcu_nocbs or isolcpus on the command line would do nothing",
        cure="install a kernel that was built with these options, such as a PREEMPT_RT one",
        source="Documentation/timers/no_hz.rst",
        needs=Needs.HOST,
        look=_built_for,
    ),
)
