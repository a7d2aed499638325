"""vmjitter's own doing: it ran on the virtual CPU's CPU, or asked QEMU for something."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.intervals import Interval, clip
from vmjitter.trace.rules.device_emulation import KICKS
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing


def _find(look: Look) -> Iterable[Finding]:
    for part, state in look.states(Doing.READY):
        cpu = look.scene.cpus.get(state.cpu)
        for turn in cpu.turns.within(part) if cpu is not None else ():
            both = clip((turn.start, turn.end), part)
            if both is not None and look.scene.meta.role(turn.tid) == "vmjitter":
                yield Finding(*both, "vmjitter ran on its CPU")
    for action in look.scene.meta.own_actions:
        for part in _held_up(look, action.what):
            both = clip((action.start, action.end), part)
            if both is not None:
                yield Finding(*both, action.what)


def _held_up(look: Look, what: str) -> Iterable[Interval]:
    """When an action can have delayed the guest: what only ran beside it did not.

    That is while QEMU called the thread back; for a command to QEMU also while it was blocked.
    """
    command = "qmp" in what.lower()
    if not look.scene.watched.items:
        return [look.window.interval] if command else []
    doings = (Doing.QEMU, Doing.BLOCKED) if command else (Doing.QEMU,)
    return [
        part
        for part, state in look.states(*doings)
        if state.doing is Doing.BLOCKED or state.reason in KICKS
    ]


RULE: Final = Rule(
    cause="own-action",
    title="vmjitter's own action",
    side=Side.OBSERVER,
    needs=needs(),
    find=_find,
    advice="measure again without --trace, or give vmjitter another CPU: guest.host_cpus",
)
