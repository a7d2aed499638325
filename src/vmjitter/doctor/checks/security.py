"""What protects from hostile guests, and costs time.  Only said, never advised lightly."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok, problem, warning
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

_VULNERABILITIES: Final = "/sys/devices/system/cpu/vulnerabilities"
_SPLIT_LOCK: Final = "/proc/sys/kernel/split_lock_mitigate"
_SPLIT_FLAGS: Final = frozenset({"split_lock_detect", "bus_lock_detect"})
_FLUSH: Final = "/sys/module/kvm_intel/parameters/vmentry_l1d_flush"


def _mitigations(view: HostView) -> Answer:
    names = view.tree.names(_VULNERABILITIES)
    active = [
        name for name in names if "Mitigation" in (view.read(f"{_VULNERABILITIES}/{name}") or "")
    ]
    if not names:
        return None
    if not active:
        return ok("No mitigation slows exits down", f"{_VULNERABILITIES}/*: none active")
    return note(
        "Mitigations make each exit dearer", f"{_VULNERABILITIES}: active: {', '.join(active)}"
    )


def _flush(view: HostView) -> Answer:
    value = view.read(_FLUSH)
    if value is None:
        return None
    if value == "always":
        return warning(
            "The first-level cache is flushed at each entry of a guest", view.show(_FLUSH)
        )
    return ok("The first-level cache is not flushed at every entry", view.show(_FLUSH))


def _split_lock(view: HostView) -> Answer:
    value = view.read(_SPLIT_LOCK)
    if value is None:
        return None
    evidence = view.show(_SPLIT_LOCK)
    if value == "0" or view.option("split_lock_detect") == "off":
        return ok("Misaligned atomic accesses are not punished", evidence)
    flags = sorted(_SPLIT_FLAGS & view.cpu_flags)
    if not flags:
        return ok(
            "The processor does not detect misaligned atomic accesses",
            f"{evidence}; /proc/cpuinfo has neither of {', '.join(sorted(_SPLIT_FLAGS))}",
        )
    return problem(
        "A guest stops for 10 ms at each misaligned atomic access",
        f"{evidence}; /proc/cpuinfo: {', '.join(flags)}",
    )


CHECKS: Final = (
    Check[HostView](
        id="split-lock",
        asks="Is a guest punished for misaligned atomic accesses?",
        reads=(_SPLIT_LOCK, "/proc/cpuinfo"),
        cost="10 ms for each, since Linux 5.19; dmesg says: took a split_lock trap",
        cure="sysctl -w kernel.split_lock_mitigate=0; boot with split_lock_detect=off for good",
        source="Documentation/admin-guide/sysctl/kernel.rst; lf-edge/eve issue 3611; "
        "BambuStudio issue 8605",
        knob="split-lock-mitigation-off",
        look=_split_lock,
    ),
    Check[HostView](
        id="cache-flush-on-entry",
        asks="Is the first-level cache flushed at each entry of a guest?",
        reads=(_FLUSH,),
        cost="the guest starts with a cold cache after every exit",
        cure="boot with kvm-intel.vmentry_l1d_flush=cond, if no guest has to be mistrusted",
        source="Documentation/admin-guide/hw-vuln/l1tf.rst",
        needs=Needs.HOST,
        look=_flush,
    ),
    Check[HostView](
        id="mitigations",
        asks="Do mitigations of the processor's vulnerabilities make exits dearer?",
        reads=(f"{_VULNERABILITIES}/*",),
        cost="part of each exit; a boot with many of them took 504 ms with, 308 ms without",
        cure="boot with mitigations=off only where every guest and every program is trusted; "
        "vmjitter never does it",
        source="Documentation/admin-guide/hw-vuln; tinylabscom/mvm issue 2619",
        needs=Needs.HOST,
        look=_mitigations,
    ),
)
