"""Two threads of one core share its execution units."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="smt-off",
    effect="every core runs one thread",
    files=(("/sys/devices/system/cpu/smt/control", "off"),),
    absent="the kernel was built without CONFIG_HOTPLUG_SMT",
    enough=("forceoff",),
    unsupported=("notsupported", "notimplemented"),
    worth="libvirt knowledge base, KVM real time: SMT and real time do not go together",
    # what cpuset(7), version 1, loses with a CPU does not come back with it
    risk="half of the CPUs are gone, for everybody; a cpuset of cgroup version 1 does not get them "
    "back by itself; while they go, everything waits",
)
