"""Real-time budget of a control group."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from vmjitter.effects.systree import SysTree
from vmjitter.tuning.cgroups import groups_v1
from vmjitter.tuning.change import Change
from vmjitter.tuning.knob import Host, Knob, Target

_FILE: Final = "cpu.rt_runtime_us"
_WITHOUT_LIMIT_US: Final = 950_000
"""Of a second: the kernel's own default, where the root group has no limit (sched(7))."""


@dataclass(frozen=True, kw_only=True)
class RtGroupBudget(Knob):
    """QEMU's control group of version 1, which is ours at its start, and all above it.

    A new group has a budget of 0, and then sched_setscheduler(2) refuses real-time policies in it
    (Documentation/scheduler/sched-rt-group.rst).  Version 2 has no budget to give.
    """

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        for change in self.on_host(host):
            if not host.tree.usable(change.place):
                return f"{change.place} cannot be written to; root can"
        return ""

    def on_host(self, host: Host) -> tuple[Change, ...]:
        """Only groups that have none."""
        return _budgets(host.tree, "self")

    def on_threads(self, target: Target) -> tuple[Change, ...]:
        """Of a QEMU that somebody else has started; only groups that have none."""
        return _budgets(target.host.tree, str(target.pid))


def _budgets(tree: SysTree, process: str) -> tuple[Change, ...]:
    """From the top down: a group cannot have more than is left of the one above."""
    found = []
    groups = list(reversed(groups_v1(tree, process, "cpu")))
    above_us = _runtime_us(tree, groups[0]) if groups else 0
    if above_us < 0:
        above_us = _WITHOUT_LIMIT_US
    for parent, group in pairwise(groups):
        if not tree.exists(f"{group}/{_FILE}"):
            return ()  # built without CONFIG_RT_GROUP_SCHED
        own_us = _runtime_us(tree, group)
        if own_us == 0:
            others = [one for one in tree.names(parent) if f"{parent}/{one}" != group]
            taken_us = sum(_runtime_us(tree, f"{parent}/{one}") for one in others)
            own_us = max(0, above_us - taken_us)
            place = f"{group}/{_FILE}"
            found.append(Change(medium="file", place=place, wanted=str(own_us)))
        above_us = own_us
    return tuple(found)


def _runtime_us(tree: SysTree, group: str) -> int:
    return int(tree.read(f"{group}/{_FILE}") or 0)


KNOB: Final = RtGroupBudget(
    name="rt-group-budget",
    effect="QEMU's control group may run real-time threads, with what is left of the one above",
    worth="without it a control group refuses real-time (LinuxCNC issue 2821, LTP issue 1119)",
    risk="none of that is left for groups beside it; put it before the knobs that set priorities",
)
