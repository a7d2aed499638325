"""Threads that serve vhost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.effects.threads import Thread
from vmjitter.tuning.knob import Target, ThreadKnob


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    return [(one, "fifo 2") for one in target.vhost]


KNOB: Final = ThreadKnob(
    name="vhost-fifo",
    effect="the threads that serve the guest's network run at SCHED_FIFO, priority 2",
    medium="policy",
    choose=_choose,
    device="/dev/vhost-net",
    module="vhost_net",
    worth="SEAPATH sets RR 1 at each start of a guest (issue 808)",
)
