"""What a thread did at each time, from the host's events: the state machine of a virtual CPU.

A virtual CPU is a thread of QEMU.  It runs the guest between ``kvm_entry`` and ``kvm_exit``, KVM's
own code from there on, QEMU's after ``kvm_userspace_exit``.  When the host's scheduler takes it off
its CPU, ``sched_switch`` says whether it could have gone on; ``sched_waking`` says from when on it
could again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from vmjitter.trace.events import Entry, Event, Exit, Lost, Switch, UserExit, Waking, Woken
from vmjitter.trace.spans import Spans


class Doing(StrEnum):
    """What a thread does."""

    UNKNOWN = "unknown"
    GUEST = "in the guest"
    KVM = "in KVM"
    QEMU = "in QEMU"
    RUNNING = "running"
    READY = "ready, but not running"
    HALTED = "halted"
    BLOCKED = "blocked"


class State(NamedTuple):
    """A stretch of time in which a thread did one thing.

    Attributes:
        cpu: where; -1 if it is not known.
        reason: of the exit that led there, as KVM calls it; for QEMU that of KVM_RUN; empty
            without one.
        inside: where it was blocked or taken off: `Doing.KVM`, `Doing.QEMU` or unknown.
        woken: it is ready because it was woken, not because another thread took its CPU.
        disk_sleep: blocked in the state D: it waits for a disk or a page.
        by_tid: of a sleep, the thread that ran where it was woken from, and ``by_cpu``: on which
            CPU; -1 if not known.
        exit_ns: the last exit of the guest (without the host's events, of KVM_RUN) before it, which
            makes what follows one piece of work, whoever interrupts it; -1 if not known.
    """

    start: int
    end: int
    doing: Doing
    cpu: int = -1
    reason: str = ""
    inside: Doing = Doing.UNKNOWN
    woken: bool = False
    disk_sleep: bool = False
    by_tid: int = -1
    by_cpu: int = -1
    exit_ns: int = -1


HALTS: Final = frozenset({"HLT", "hlt", "MWAIT_INSTRUCTION", "mwait"})
"""Exit reasons with which a guest gives up its CPU (Intel's name, AMD's name)."""


_INTERRUPTED: Final = frozenset({"EXTERNAL_INTERRUPT", "intr"})
_NO_STEP_NS: Final = 10_000
"""KVM records an entry before it flushes caches and enters.  If the guest is left again at the same
instruction, for an interrupt of the host and that soon, it has not run.  After a longer time a
loop may have come to the same instruction again."""


def states_of(events: Iterable[Event], threads: Mapping[int, bool]) -> dict[int, Spans[State]]:
    """The states of several threads.

    Args:
        events: of the host, in the order of time.
        threads: by their id, whether each is a virtual CPU under KVM.  Another thread that sleeps
            counts as halted: that is how a program waits for its timer.
    """
    machines = {tid: _Machine(tid, kvm=kvm) for tid, kvm in threads.items()}
    for event in events:
        for tid in _concerned(event, machines):
            if tid in machines:
                machines[tid].take(event)
    return {tid: Spans(machine.states) for tid, machine in machines.items()}


def _concerned(event: Event, machines: Mapping[int, object]) -> Iterable[int]:
    what = event.what
    if isinstance(what, Switch):
        return (what.prev_tid, what.next_tid)
    if isinstance(what, Waking):
        return (what.tid,)
    if isinstance(what, Lost):
        return machines.keys()
    return (event.tid,)


class _Machine:
    def __init__(self, tid: int, *, kvm: bool) -> None:
        self._tid = tid
        self._kvm = kvm
        self._mode = Doing.UNKNOWN if kvm else Doing.RUNNING
        self._now: State | None = None
        self._cpu = -1
        self._reason = ""
        self._exit_ns = -1
        self._entered_at = -1
        self.states: list[State] = []

    def take(self, event: Event) -> None:
        what = event.what
        if isinstance(what, Switch):
            self._switch(event, what)
        elif isinstance(what, Waking):
            self._wake(event, what)
        elif isinstance(what, Lost):
            if event.cpu == self._cpu or self._cpu < 0:
                self._forget(event.time_ns)
        elif isinstance(what, Entry | Exit | UserExit | Woken) and self._kvm:
            self._cpu = event.cpu
            self._step(event.time_ns, what)

    def _switch(self, event: Event, what: Switch) -> None:
        self._cpu = event.cpu
        if what.prev_tid == self._tid:
            self._off(event.time_ns, what.prev_state)
        else:
            self._begin(event.time_ns, self._mode)

    def _off(self, time_ns: int, state: str) -> None:
        """The scheduler takes it off; R means that it could have gone on."""
        disk = state.startswith("D")
        halted = not self._kvm or (self._mode is Doing.KVM and self._reason in HALTS)
        if state.startswith("R"):
            doing = Doing.READY
        elif halted and not disk:
            doing = Doing.HALTED
        else:
            doing = Doing.BLOCKED
        self._begin(time_ns, doing, disk_sleep=disk)

    def _wake(self, event: Event, what: Waking) -> None:
        if self._now is None or self._now.doing in (Doing.HALTED, Doing.BLOCKED, Doing.UNKNOWN):
            if self._now is not None:
                self._now = self._now._replace(by_tid=event.tid, by_cpu=event.cpu)
            self._cpu = what.cpu
            self._begin(event.time_ns, Doing.READY)
            self._now = self._now and self._now._replace(woken=True)

    def _step(self, time_ns: int, what: Entry | Exit | UserExit | Woken) -> None:
        if isinstance(what, Entry):
            self._mode, self._reason, self._entered_at = Doing.GUEST, "", what.rip
            self._begin(time_ns, Doing.GUEST)
        elif isinstance(what, Exit):
            self._unless_it_ran(time_ns, what)
            self._mode, self._reason, self._exit_ns = Doing.KVM, what.reason, time_ns
            # With halt polling it looks for an interrupt before it sleeps: halted all the same.
            self._begin(time_ns, Doing.HALTED if what.reason in HALTS else Doing.KVM)
        elif isinstance(what, UserExit):
            self._mode, self._reason = Doing.QEMU, what.reason
            self._begin(time_ns, Doing.QEMU)
        else:
            self._mode = Doing.KVM
            self._begin(time_ns, Doing.KVM)

    def _unless_it_ran(self, time_ns: int, left: Exit) -> None:
        """What looked like the guest was KVM on its way there and back."""
        now = self._now
        if now is None or now.doing is not Doing.GUEST or left.reason not in _INTERRUPTED:
            return
        if left.rip == self._entered_at >= 0 and time_ns - now.start <= _NO_STEP_NS:
            self._now = now._replace(doing=Doing.KVM, reason=left.reason)

    def _begin(
        self,
        time_ns: int,
        doing: Doing,
        *,
        disk_sleep: bool = False,
    ) -> None:
        self._end(time_ns)
        inside = self._mode if doing in (Doing.READY, Doing.BLOCKED) else Doing.UNKNOWN
        self._now = State(
            time_ns,
            time_ns,
            doing,
            self._cpu,
            self._reason,
            inside,
            disk_sleep=disk_sleep,
            exit_ns=self._exit_ns,
        )

    def _end(self, time_ns: int) -> None:
        if self._now is not None and time_ns > self._now.start:
            self.states.append(self._now._replace(end=time_ns))
        self._now = None

    def _forget(self, time_ns: int) -> None:
        """Events are missing from here on: the next one tells what it does."""
        self._end(time_ns)
        self._mode = Doing.UNKNOWN if self._kvm else Doing.RUNNING
        self._cpu = -1
