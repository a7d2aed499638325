"""A thread of QEMU or vhost that the virtual CPU waited for did not get a CPU itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.intervals import clip
from vmjitter.trace.rules.halts import Halt, halts
from vmjitter.trace.rules.lock_waits import holder_states, own_waits
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing, State


def _find(look: Look) -> Iterable[Finding]:
    for part, wait in own_waits(look):
        for both, state in holder_states(look, part, wait):
            if state.doing is Doing.READY:
                who = look.scene.who(wait.holder_tid)
                yield Finding(*both, f"{who} held QEMU's lock{_instead(look, both, state)}")
    for halt in halts(look):
        if look.scene.meta.role(halt.by):
            yield from _waker(look, halt)


def _waker(look: Look, halt: Halt) -> Iterable[Finding]:
    """A timer of QEMU, not of KVM: the thread that served it came late itself."""
    for state in look.scene.states[halt.by].within(halt.part):
        both = clip((state.start, state.end), halt.part)
        if both is not None and state.doing is Doing.READY:
            who = look.scene.who(halt.by)
            yield Finding(*both, f"{who} had to wake it{_instead(look, both, state)}")


def _instead(look: Look, part: tuple[int, int], state: State) -> str:
    cpu = look.scene.cpus.get(state.cpu)
    best: tuple[int, str] = (0, "")
    for turn in cpu.turns.within(part) if cpu is not None else ():
        both = clip((turn.start, turn.end), part)
        if both is not None and turn.tid:
            best = max(best, (both[1] - both[0], look.scene.who(turn.tid, turn.comm)))
    return f"; its CPU ran {best[1]}" if best[1] else ""


RULE: Final = Rule(
    cause="starved",
    title="thread of QEMU or vhost starved",
    side=Side.HOST,
    needs=needs("host:sched_switch"),
    find=_find,
    knobs=("emulator-fifo", "iothread-fifo", "vhost-fifo", "qemu-fifo-max", "emulator-pin"),
)
