"""KVM polls for a while before a vCPU that halted sleeps."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="halt-polling-1ms",
    effect="a vCPU that halts is polled for up to 1 ms before it sleeps",
    files=(("/sys/module/kvm/parameters/halt_poll_ns", "1000000"),),
    absent="the module kvm is not loaded",
    worth="saves the way through the scheduler (Documentation/virt/kvm/halt-polling.rst)",
    risk="burns a CPU, and takes it from QEMU's other threads: compare both",
)
