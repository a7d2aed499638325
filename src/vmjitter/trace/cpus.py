"""What each CPU did: which thread it ran, which interrupts it served, when it slept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from vmjitter.trace.events import (
    IDLE_ENDS,
    Begin,
    CpuIdle,
    End,
    Event,
    Lost,
    Noise,
    Switch,
    TimerFires,
    TimerSet,
)
from vmjitter.trace.spans import Spans


class Turn(NamedTuple):
    """A thread that had a CPU."""

    start: int
    end: int
    tid: int
    comm: str
    prio: int


class Served(NamedTuple):
    """An interrupt, a softirq, or a stretch with interrupts off.

    Attributes:
        kind: "irq", "softirq" or "irqs-off".
        name: for people.
        tid: the thread that it interrupted.
    """

    start: int
    end: int
    kind: str
    name: str
    tid: int


class Slept(NamedTuple):
    """A CPU in a sleep state of the idle driver."""

    start: int
    end: int
    state: int


class Fired(NamedTuple):
    """A timer went off.

    Attributes:
        due_ns: when it should have, or -1 if its start was not seen.
    """

    start: int
    end: int
    function: str
    due_ns: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Cpu:
    """One CPU over the time of the trace."""

    turns: Spans[Turn]
    served: Spans[Served]
    slept: Spans[Slept]
    fired: Spans[Fired]


@dataclass(kw_only=True)
class _Building:
    turns: list[Turn] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    slept: list[Slept] = field(default_factory=list)
    fired: list[Fired] = field(default_factory=list)
    running: Turn | None = None
    open: dict[tuple[str, str], Served] = field(default_factory=dict)
    sleeping: Slept | None = None


def cpus_of(events: Iterable[Event]) -> dict[int, Cpu]:
    """All CPUs of one kernel, by number; the events in the order of time."""
    building: dict[int, _Building] = {}
    due: dict[str, int] = {}
    last_ns = 0
    for event in events:
        last_ns = max(last_ns, event.time_ns)
        cpu = building.setdefault(event.cpu, _Building())
        _take(cpu, event, due)
        if isinstance(event.what, CpuIdle):
            _idle(building.setdefault(event.what.cpu, _Building()), event.time_ns, event.what)
    return {number: _built(cpu, last_ns) for number, cpu in sorted(building.items())}


def _take(cpu: _Building, event: Event, due: dict[str, int]) -> None:
    what, time_ns = event.what, event.time_ns
    if isinstance(what, Switch):
        _switch(cpu, time_ns, what)
    elif isinstance(what, Begin):
        cpu.open.setdefault(
            (what.kind, what.key), Served(time_ns, time_ns, what.kind, what.name, event.tid)
        )
    elif isinstance(what, End):
        begun = cpu.open.pop((what.kind, what.key), None)
        if begun is not None:
            cpu.served.append(begun._replace(end=time_ns))
    elif isinstance(what, Noise):
        start_ns = time_ns - what.duration_ns  # its own start may be of another clock
        cpu.served.append(Served(start_ns, time_ns, what.kind, what.name, event.tid))
    elif isinstance(what, TimerSet):
        due[what.timer] = what.expires_ns
    elif isinstance(what, TimerFires):
        cpu.fired.append(Fired(time_ns, time_ns + 1, what.function, due.pop(what.timer, -1)))
    elif isinstance(what, Lost):
        cpu.open.clear()
        cpu.sleeping = None
        if cpu.running is not None:
            cpu.turns.append(cpu.running._replace(end=time_ns))
            cpu.running = None


def _switch(cpu: _Building, time_ns: int, what: Switch) -> None:
    before = cpu.running
    if before is None or before.tid != what.prev_tid:
        before = None
    if before is not None:
        cpu.turns.append(before._replace(end=time_ns))
    cpu.running = Turn(time_ns, time_ns, what.next_tid, what.next_comm, what.next_prio)


def _idle(cpu: _Building, time_ns: int, what: CpuIdle) -> None:
    if cpu.sleeping is not None:
        cpu.slept.append(cpu.sleeping._replace(end=time_ns))
    cpu.sleeping = None if what.state >= IDLE_ENDS else Slept(time_ns, time_ns, what.state)


def _built(cpu: _Building, last_ns: int) -> Cpu:
    """Whatever is still open at the end of the trace lasts until there."""
    turns, slept = list(cpu.turns), list(cpu.slept)
    if cpu.running is not None:
        turns.append(cpu.running._replace(end=last_ns))
    if cpu.sleeping is not None:
        slept.append(cpu.sleeping._replace(end=last_ns))
    return Cpu(
        turns=Spans(turns),
        served=Spans(sorted(cpu.served)),
        slept=Spans(slept),
        fired=Spans(cpu.fired),
    )


def interrupts(cpu: Cpu, kind: str, window: tuple[int, int]) -> Iterator[Served]:
    """Interrupts or the like of one kind that share time with a window."""
    return (one for one in cpu.served.within(window) if one.kind == kind)
