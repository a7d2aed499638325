"""Without the scheduler's events: the kernel's counter says that the virtual CPU had to wait.

The counter is looked at twice a second, so it names no thread and no exact time.  It is believed
only if what it grew by, beyond what it usually does, is about the latency: half of it to twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from statistics import median_low
from typing import Final

from vmjitter.trace.parsers.proc_csv import Look as Counts
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.units import format_ns

_LOOKS: Final = 5
"""With fewer of them it is not known what is usual."""


def _find(look: Look) -> Iterable[Finding]:
    if "host:sched_switch" in look.scene.names:
        return
    looks = look.scene.counters.looks.get(look.scene.tid, [])
    grown = [(a, b, b.run_delay_ns - a.run_delay_ns) for a, b in pairwise(looks)]
    usual = median_low([delta for _, _, delta in grown]) if grown else 0
    for a, b, delta in grown:
        excess, latency = delta - usual, look.window.latency_ns
        if _covers(look, a, b) and latency <= 2 * excess <= 4 * latency and len(grown) >= _LOOKS:
            length = min(excess, latency)
            grew = format_ns(delta)
            text = f"its run_delay grew by {grew} in the look around it; by whom is not known"
            yield Finding(look.window.start, look.window.start + length, text)


def _covers(look: Look, before: Counts, after: Counts) -> bool:
    return before.host_ns <= look.window.start and look.window.end <= after.host_ns


RULE: Final = Rule(
    cause="preempted",
    title="virtual CPU preempted",
    side=Side.HOST,
    needs=needs("proc:schedstat"),
    find=_find,
    knobs=("vcpu-fifo", "qemu-fifo-max", "cpu-dedicated", "emulator-pin"),
)
