"""What the rules for the host's interrupts share."""

from __future__ import annotations

from collections.abc import Iterator

from vmjitter.trace.cpus import interrupts
from vmjitter.trace.intervals import clip
from vmjitter.trace.rules.rule import Finding, Look
from vmjitter.trace.thread_states import Doing


def host_served(look: Look, kind: str, thread_prefix: str) -> Iterator[Finding]:
    """Stretches in which the thread's CPU served interrupts instead of it.

    Args:
        look: the wake-up.
        kind: as in `Served.kind`.
        thread_prefix: threads with such a name do the same work (irq/N-name, ksoftirqd/N).
    """
    outside = (Doing.KVM, Doing.QEMU, Doing.READY, Doing.HALTED, Doing.BLOCKED, Doing.RUNNING)
    for part, state in look.states(*outside):
        cpu = look.scene.cpus.get(state.cpu)
        if cpu is None:
            continue
        for one in interrupts(cpu, kind, part):
            both = clip((one.start, one.end), part)
            if both is not None and one.tid in (look.scene.tid, 0):
                yield Finding(*both, one.name)
        if state.doing is not Doing.READY:
            continue
        for turn in cpu.turns.within(part):
            both = clip((turn.start, turn.end), part)
            if both is not None and turn.comm.startswith(thread_prefix):
                yield Finding(*both, turn.comm)
