"""The probe could run, but the guest's kernel ran another task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.events import Waking, priority_text
from vmjitter.trace.intervals import common
from vmjitter.trace.rules.guest_moments import moments
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    guest = look.guest
    if guest is None:
        return
    steps = moments(look)
    ran = common(look.in_guest(), [(steps.woken, steps.running)])
    own = _own_priority(look)
    for turn in guest.cpu.turns.within((steps.woken, max(steps.running, steps.woken + 1))):
        if turn.tid in (0, look.scene.meta.probe_tid):
            continue
        who = look.scene.guest_who(turn.tid, turn.comm)
        above = "above the probe" if turn.prio <= own else "did not let go: preemption off"
        for part in common(ran, [(turn.start, turn.end)]):
            yield Finding(*part, f"{who}, {priority_text(turn.prio)}, {above}")


def _own_priority(look: Look) -> int:
    guest = look.guest
    last = guest.wakings.before(look.window.end) if guest is not None else None
    return last.what.prio if last is not None and isinstance(last.what, Waking) else -1


RULE: Final = Rule(
    cause="guest-task",
    title="another task of the guest",
    side=Side.GUEST,
    needs=needs("guest:sched_switch", "guest:sched_waking guest:sched_wakeup"),
    find=_find,
    crosses=False,
    advice="raise the probe's priority, or lower that of the task; PREEMPT_RT if it did not let go",
)
