"""The host's disk: the virtual CPU, or the thread that it waits for, waits for a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.intervals import Interval, clip
from vmjitter.trace.rules.lock_waits import holder_states, own_waits
from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs
from vmjitter.trace.thread_states import Doing

PAGE_FAULTS: Final = frozenset({"EPT_VIOLATION", "npf", "NPF"})
"""Exit reasons of a second-level page fault (Intel's name, AMD's names)."""


def _find(look: Look) -> Iterable[Finding]:
    for part, state in look.states(Doing.BLOCKED):
        in_fault = state.inside is Doing.KVM and state.reason in PAGE_FAULTS
        if state.disk_sleep and not in_fault:
            yield Finding(*part, f"the virtual CPU's thread waited for {outstanding(look, part)}")
    for part, wait in own_waits(look):
        for both, state in holder_states(look, part, wait):
            if state.disk_sleep:
                who = look.scene.who(wait.holder_tid)
                held = f"{who} held QEMU's lock and waited for"
                yield Finding(*both, f"{held} {outstanding(look, both)}")


def outstanding(look: Look, part: Interval) -> str:
    """Of all requests that were on their way, the one that took most of a stretch."""
    best: tuple[int, str] = (0, "")
    for request in look.scene.disk.within(part):
        both = clip((request.start, request.end), part)
        if both is not None:
            text = f"disk {request.device} ({request.what})"
            best = max(best, (both[1] - both[0], text))
    return best[1] or "something that was not recorded"


RULE: Final = Rule(
    cause="disk",
    title="the host's disk",
    side=Side.HOST,
    needs=needs("host:sched_switch"),
    find=_find,
    knobs=("iothread", "aio-io-uring", "aio-native", "virtio-disk"),
)
