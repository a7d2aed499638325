"""The thread of the emulated interval timer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    return [(one, "rr 1") for one in target.kernel_threads if one.name.startswith("kvm-pit/")]


KNOB: Final = ThreadKnob(
    name="kvm-pit-rr",
    effect="the kernel's thread for the guest's interval timer runs at SCHED_RR, priority 1",
    medium="policy",
    choose=_choose,
    device="/dev/kvm",
    module="kvm_intel or kvm_amd",
    worth="SEAPATH sets it",
)
