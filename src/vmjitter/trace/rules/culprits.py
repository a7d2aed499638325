"""Who had the CPU while a thread was ready to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmjitter.trace.events import priority_text
from vmjitter.trace.intervals import Interval, clip, without
from vmjitter.trace.rules.rule import Finding, Look
from vmjitter.trace.thread_states import Doing

_NOBODY: Final = "by whom was not recorded"
_QEMU: Final = (
    "main loop", "iothread", "worker", "vhost", "vcpu", "qemu", "kvm-pit", "storage daemon",
)  # fmt: skip
"""Roles of threads that work for the guest, see `vmjitter.tracing.threads`."""


def culprits(look: Look, part: Interval, cpu_number: int) -> Iterator[Finding]:
    """A stretch of waiting, split by the threads that ran meanwhile."""
    cpu = look.scene.cpus.get(cpu_number)
    named: list[Interval] = []
    for turn in cpu.turns.within(part) if cpu is not None else ():
        both = clip((turn.start, turn.end), part)
        if both is None or turn.tid == look.scene.tid:
            continue
        named.append(both)
        if turn.tid == 0:
            yield Finding(*both, "the CPU was idle and switched late")
        else:
            who = look.scene.who(turn.tid, turn.comm)
            yield Finding(*both, f"by {who}, {priority_text(turn.prio)}")
    for rest in without([part], named):
        yield Finding(*rest, _NOBODY)


def waiting_for_cpu(look: Look, *, woken: bool) -> Iterator[Finding]:
    """All stretches in which the thread was ready and did not run."""
    for part, state in look.states(Doing.READY):
        if state.woken is woken:
            yield from culprits(look, part, state.cpu)


def by_qemu(detail: str) -> bool:
    """Whether who had the CPU, as written above, is a thread that works for the guest."""
    return detail.startswith(tuple(f"by {role}" for role in _QEMU))
