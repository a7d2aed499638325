"""CPU time that a control group may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmjitter.effects.systree import SysTree
from vmjitter.tuning.cgroups import groups_v1, groups_v2
from vmjitter.tuning.change import Change
from vmjitter.tuning.knob import Host, Knob, Target

_NO_QUOTA: Final = "-1"


@dataclass(frozen=True, kw_only=True)
class CgroupQuotaOff(Knob):
    """The control group of QEMU, which is ours at its start, and all above it (cgroups(7))."""

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        for change in self.on_host(host):
            if not host.tree.usable(change.place):
                return f"{change.place} limits QEMU and cannot be written to; root can"
        return ""

    def on_host(self, host: Host) -> tuple[Change, ...]:
        """Only where there is a limit."""
        return _limits(host.tree, "self")

    def on_threads(self, target: Target) -> tuple[Change, ...]:
        """Of a QEMU that somebody else has started; only where there is a limit."""
        return _limits(target.host.tree, str(target.pid))


def _limits(tree: SysTree, process: str) -> tuple[Change, ...]:
    found = []
    for group in groups_v2(tree, process):
        place = f"{group}/cpu.max"
        quota, _, period = (tree.read(place) or "max").partition(" ")
        if quota != "max":
            found.append(Change(medium="file", place=place, wanted=f"max {period}".strip()))
    for group in groups_v1(tree, process, "cpu"):
        place = f"{group}/cpu.cfs_quota_us"
        if (tree.read(place) or _NO_QUOTA) != _NO_QUOTA:
            found.append(Change(medium="file", place=place, wanted=_NO_QUOTA))
    return tuple(found)


KNOB: Final = CgroupQuotaOff(
    name="cgroup-quota-off",
    effect="no control group limits the CPU time of QEMU",
    worth="throttled even with CPUs of its own (k0s issue 4954)",
    risk="others get less",
)
