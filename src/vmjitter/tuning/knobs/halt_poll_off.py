"""KVM polls for a while before a vCPU that halted sleeps."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="halt-polling-off",
    effect="a vCPU that halts sleeps at once",
    files=(("/sys/module/kvm/parameters/halt_poll_ns", "0"),),
    absent="the module kvm is not loaded",
    worth="frees the CPU that polling burns (Documentation/virt/kvm/halt-polling.rst)",
    risk="each wake-up takes the way through the scheduler, a few us: compare both",
)
