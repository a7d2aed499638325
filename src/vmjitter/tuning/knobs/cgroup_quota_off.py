"""CPU time that a control group may use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from vmjitter.tuning.change import Change
from vmjitter.tuning.knob import Host, Knob


@dataclass(frozen=True, kw_only=True)
class CgroupQuotaOff(Knob):
    """Our own control group and all above it (cgroups(7), version 2)."""

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        for change in self.on_host(host):
            if not host.tree.usable(change.place):
                return f"{change.place} limits QEMU and cannot be written to; root can"
        return ""

    def on_host(self, host: Host) -> tuple[Change, ...]:
        """Only where there is a limit."""
        found = []
        for place in _quotas(host):
            quota, _, period = (host.tree.read(place) or "max").partition(" ")
            if quota != "max":
                found.append(Change(medium="file", place=place, wanted=f"max {period}".strip()))
        return tuple(found)


def _quotas(host: Host) -> list[str]:
    lines = (host.tree.read("/proc/self/cgroup") or "").splitlines()
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    groups = [PurePosixPath(own), *PurePosixPath(own).parents]
    return [f"/sys/fs/cgroup{group if str(group) != '/' else ''}/cpu.max" for group in groups]


KNOB: Final = CgroupQuotaOff(
    name="cgroup-quota-off",
    effect="no control group limits the CPU time of QEMU",
    worth="throttled even with CPUs of its own (k0s issue 4954)",
    risk="others get less",
)
