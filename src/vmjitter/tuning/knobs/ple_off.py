"""A virtual CPU that spins leaves the guest."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import ModuleKnob

KNOB: Final = ModuleKnob(
    name="pause-loop-exits-off",
    effect="a virtual CPU that waits for a lock stays in the guest",
    module="kvm_intel",
    parameter="ple_gap",
    value="0",
    reads="0",
    worth="tuned, profile realtime-virtual-host",
    risk="a spinning guest keeps its CPU from others",
)
