"""Priorities of the kernel's own threads on the guest's CPUs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread, kernel_threads
from vmjitter.tuning.knob import Target, ThreadKnob

_PRIORITIES: Final = {"ksoftirqd": 2, "ktimers": 2, "rcuc": 4}
"""As in tuned's profile realtime-virtual-host; a virtual CPU has 1."""


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    if target.host.tree.read("/sys/kernel/realtime") != "1":
        return []  # only there do softirqs need their threads
    return [
        (one, f"fifo {_PRIORITIES[kind]}")
        for one in kernel_threads()
        for kind, _, cpu in [one.name.partition("/")]
        if kind in _PRIORITIES and cpu.isdecimal() and int(cpu) in target.host.guest_cpus
    ]


KNOB: Final = ThreadKnob(
    name="kthreads-fifo",
    effect="on a PREEMPT_RT host, the kernel's timers, softirqs and RCU stand above the guest",
    medium="policy",
    choose=_choose,
    needs_own_cpu=False,
    worth="in the wrong order, timers starve and wake-ups are lost (tuned, realtime-virtual-host)",
)
