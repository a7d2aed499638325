"""KVM corrects the guests' clocks every five minutes."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import ModuleKnob

KNOB: Final = ModuleKnob(
    name="kvmclock-sync-off",
    effect="virtual CPUs are no longer interrupted every five minutes for their clock",
    module="kvm",
    parameter="kvmclock_periodic_sync",
    value="0",
    reads="N",
    worth="tuned, profile realtime-virtual-host",
)
