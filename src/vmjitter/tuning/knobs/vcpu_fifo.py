"""Virtual CPUs as real-time threads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    return [(vcpu, "fifo 1") for vcpu in target.vcpus]


KNOB: Final = ThreadKnob(
    name="vcpu-fifo",
    effect="virtual CPUs run at SCHED_FIFO, priority 1",
    medium="policy",
    choose=_choose,
    worth="the base of the libvirt, RHEL and SEAPATH recipes",
    risk="QEMU's other threads need another CPU (seapath/ansible issue 438)",
)
