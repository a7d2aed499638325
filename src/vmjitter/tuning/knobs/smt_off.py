"""Two threads of one core share its execution units."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="smt-off",
    effect="every core runs one thread",
    files=(("/sys/devices/system/cpu/smt/control", "off"),),
    absent="the kernel was built without CONFIG_HOTPLUG_SMT",
    unsupported=("notsupported", "notimplemented"),
    worth="libvirt knowledge base, KVM real time: SMT and real time do not go together",
    risk="half of the CPUs are gone, for everybody; while they go, everything waits",
)
