"""Below the kernel: firmware and shared caches."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok
from vmjitter.doctor.checks.kernel import NO_CONFIG
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

_RESCTRL: Final = "/sys/fs/resctrl/schemata"
_CAT_FLAGS: Final = frozenset({"cat_l3", "cat_l2", "mba"})
_HWLAT: Final = "CONFIG_HWLAT_TRACER"


def _interrupts(view: HostView) -> Answer:
    if not view.x86:
        return None
    if not view.config:
        return Unseen(why=NO_CONFIG)
    if _HWLAT in view.config:
        return note(
            "The firmware may stop all CPUs; nothing but a measurement shows it",
            f"{_HWLAT}=y: the tracer is there",
        )
    return note(
        "The firmware may stop all CPUs, and this kernel cannot measure it",
        f"{_HWLAT} is not set",
        cure="boot a kernel with CONFIG_HWLAT_TRACER=y; read MSR 0x34 before and after (turbostat)",
    )


def _cache(view: HostView) -> Answer:
    flags = sorted(_CAT_FLAGS & view.cpu_flags)
    if not flags:
        return None
    if view.tree.exists(_RESCTRL):
        return ok("The last-level cache can be divided", view.show(_RESCTRL))
    return note(
        "Neighbours can push a guest out of the cache they share",
        f"/proc/cpuinfo: {', '.join(flags)}; {_RESCTRL} does not exist",
    )


CHECKS: Final = (
    Check[HostView](
        id="shared-cache",
        asks="Can the last-level cache be divided, and is it?",
        reads=("/proc/cpuinfo", _RESCTRL),
        cost="the guest is slower while its neighbours work; it shows only under their load",
        cure="mount -t resctrl resctrl /sys/fs/resctrl, then give the guest a share of its own",
        source="Documentation/arch/x86/resctrl.rst; ACRN, real-time tips",
        needs=Needs.NOTHING,
        look=_cache,
    ),
    Check[HostView](
        id="firmware-interrupts",
        asks="Can system management interrupts be measured?",
        reads=("the kernel's configuration",),
        cost="unexplained stops of all CPUs at once, up to hundreds of microseconds",
        cure="rtla hwnoise, or echo hwlat > /sys/kernel/tracing/current_tracer; then look for "
        "them in the firmware's settings",
        source="Documentation/trace/hwlat_detector.rst; ACRN, real-time tips",
        needs=Needs.NOTHING,
        look=_interrupts,
    ),
)
