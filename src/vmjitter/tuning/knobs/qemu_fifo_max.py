"""The paper's priority: the whole QEMU process at the highest real-time priority."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    # Threads that QEMU starts later inherit it from the thread that starts them (sched(7)).
    highest = f"fifo {os.sched_get_priority_max(os.SCHED_FIFO)}"
    return [(one, highest) for one in target.threads]


KNOB: Final = ThreadKnob(
    name="qemu-fifo-max",
    effect="all threads of QEMU run at the highest real-time priority",
    medium="policy",
    choose=_choose,
    needs_own_cpu=False,
    worth="one of the three mitigations that took the paper from 100.55 ms to 10.97 ms",
    risk="whatever shares the CPUs with QEMU starves while QEMU spins",
)
