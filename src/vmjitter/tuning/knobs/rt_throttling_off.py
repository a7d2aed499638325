"""Real-time throttling: by default a real-time thread is stopped for 50 ms in every second."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="rt-throttling-off",
    effect="real-time threads are never stopped for the sake of others",
    files=(("/proc/sys/kernel/sched_rt_runtime_us", "-1"),),
    absent="the kernel has no real-time throttling",
    worth="removes gaps of up to 50 ms of a vCPU that spins (sched(7); ros-realtime issue 28)",
    risk="a real-time thread that spins locks its CPU up: leave a CPU to the rest of the system",
)
