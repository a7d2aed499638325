"""All that the rules look at: the sources of one trial, followed and indexed, on one clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from vmjitter.trace.clock import SAME, STAMP_NS, ClockMap, wall_clock
from vmjitter.trace.cpus import Cpu, cpus_of
from vmjitter.trace.disk import DiskRequest, disk_requests
from vmjitter.trace.events import (
    Access,
    Entry,
    Event,
    Injected,
    Lost,
    PageFault,
    Request,
    RunBegins,
    UserExit,
    Waking,
    What,
)
from vmjitter.trace.intervals import Interval
from vmjitter.trace.locks import Locks, locks_of
from vmjitter.trace.merge import merge, on_host_clock
from vmjitter.trace.meta import NO_TRACE, TraceMeta
from vmjitter.trace.parsers import Parsed
from vmjitter.trace.parsers.proc_csv import Counters
from vmjitter.trace.spans import Spans
from vmjitter.trace.thread_states import Doing, State, states_of

NOTHING: Final = Parsed(events=[])


class At(NamedTuple):
    """An event as a span, so that it can be looked up by its time."""

    start: int
    end: int
    tid: int
    cpu: int
    what: What


@dataclass(frozen=True, kw_only=True)
class Material:
    """The parsed sources of one trial, each with its own clock.

    Attributes:
        guest_clock: the guest's clock on the host's; None if no offset is known.
        vcpu: number of the virtual CPU on which the probe ran.
        in_guest: the probe ran in a guest; else on the host itself.
    """

    meta: TraceMeta = NO_TRACE
    host: Parsed = NOTHING
    guest: Parsed = NOTHING
    qemu: Parsed = NOTHING
    counters: Counters = field(default_factory=Counters)
    guest_clock: ClockMap | None = None
    vcpu: int = 0
    in_guest: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Guest:
    """What the guest recorded, on the host's clock.

    Attributes:
        cpu: the CPU of the probe.
        wakings: of the probe.
        alive: every event on that CPU.
        covers: from its first to its last event: of a long run the ring holds the end.
    """

    covers: Interval
    cpu: Cpu
    wakings: Spans[At]
    alive: Spans[At]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One trial, ready to be asked.

    Attributes:
        names: events that were recorded, each as "host:NAME", "guest:NAME", "qemu:NAME".
        tid: the thread that has to wake up: the virtual CPU of the probe, or the probe itself
            where it ran on the host; -1 if it is not known.
        kvm: that thread is a virtual CPU under KVM.
        states: of this and the other threads of QEMU, by thread.
        accesses: to devices, by the host's kernel and by QEMU.
        injected: interrupts that were handed to the guest, by the host's kernel.
        bound_ns: times of the guest are placed on the host's clock within this.
        guest: None if it recorded nothing.
        recorded: there are any events at all.
        notes: what was strange.
    """

    meta: TraceMeta
    names: frozenset[str]
    tid: int
    kvm: bool
    states: dict[int, Spans[State]]
    cpus: dict[int, Cpu]
    accesses: Spans[At]
    faults: Spans[At]
    injected: Spans[At]
    disk: Spans[DiskRequest]
    locks: Locks
    requests: Spans[At]
    guest: Guest | None
    counters: Counters
    bound_ns: int
    recorded: bool
    notes: tuple[str, ...]

    @property
    def watched(self) -> Spans[State]:
        """The states of the thread that has to wake up."""
        return self.states.get(self.tid, Spans(()))

    def who(self, tid: int, comm: str = "") -> str:
        """A thread for people: its role if it has one, else its name, and its id."""
        if tid == 0:
            return "the idle task"
        named = "" if comm == "<...>" else comm  # ftrace has forgotten the name
        thread = self.meta.threads.get(tid)
        if thread is None:
            return f"{named} ({tid})" if named else f"thread {tid}"
        return f"{thread.role} ({thread.name or named}, {tid})"

    def guest_who(self, tid: int, comm: str) -> str:
        """The same for a task of the guest."""
        role = self.meta.guest_tasks.get(tid, "")
        return f"{role} ({comm}, {tid})" if role else f"{comm} ({tid})"


def build_scene(material: Material) -> Scene:
    """Place all sources on the host's clock and follow what they tell."""
    meta = material.meta
    notes: list[str] = []
    host = list(merge(material.host.events))
    guest = _placed_guest(material, notes)
    qemu = _placed_qemu(material, notes)
    tid = _watched(material)
    kvm = any(isinstance(event.what, Entry) and event.tid == tid for event in host)
    states = states_of(host, _threads(material, tid, kvm=kvm))
    if tid >= 0 and not states[tid].items:
        states[tid] = _states_by_qemu(qemu, tid)
    return Scene(
        meta=meta,
        names=_names(material),
        tid=tid,
        kvm=kvm,
        states=states,
        cpus=cpus_of(host),
        accesses=_at(merge(host, qemu), Access),
        faults=_at(host, PageFault),
        injected=_at(host, Injected),
        disk=disk_requests(host),
        locks=locks_of(qemu),
        requests=_at(qemu, Request),
        guest=_guest(material, guest),
        counters=material.counters,
        bound_ns=_bound(material),
        recorded=bool(host or qemu or guest),
        notes=tuple(notes),
    )


def _bound(material: Material) -> int:
    """The window is placed by the guest's clock; the events have ftrace's own error besides."""
    clock = material.guest_clock if material.in_guest else SAME
    return (clock.bound_ns if clock is not None else 0) + STAMP_NS


def _placed_guest(material: Material, notes: list[str]) -> list[Event]:
    clock = material.guest_clock if material.in_guest else SAME
    events = merge(material.guest.events)
    if clock is None:
        if events:
            notes.append("the guest's clock cannot be placed: no offset was measured")
        return list(events)
    if clock.note:
        notes.append(clock.note)
    return on_host_clock(events, clock)


def _placed_qemu(material: Material, notes: list[str]) -> list[Event]:
    if not material.qemu.events:
        return []
    clock = wall_clock(material.meta.realtime)
    if clock is None:
        notes.append("QEMU's log cannot be placed: no pair of wall clock and monotonic clock")
        return []
    if clock.note:
        notes.append(f"QEMU's log is not used: {clock.note}")
        return []
    return on_host_clock(merge(material.qemu.events), clock)


def _watched(material: Material) -> int:
    if not material.in_guest:
        return material.meta.host_probe
    vcpus = material.meta.vcpus
    if material.vcpu in vcpus:
        return vcpus[material.vcpu]
    return next(iter(vcpus.values())) if len(vcpus) == 1 else -1


def _threads(material: Material, watched: int, *, kvm: bool) -> dict[int, bool]:
    threads = dict.fromkeys(material.meta.threads, False)
    for tid in material.meta.vcpus.values():
        threads[tid] = kvm
    if watched >= 0:
        threads[watched] = kvm
    return threads


def _states_by_qemu(events: Iterable[Event], tid: int) -> Spans[State]:
    """Without the host's events: between an exit and the next KVM_RUN it is in QEMU."""
    states: list[State] = []
    since: tuple[int, str] | None = None
    for event in events:
        if event.tid != tid:
            continue
        if isinstance(event.what, UserExit):
            since = (event.time_ns, event.what.reason)
        elif isinstance(event.what, RunBegins) and since is not None:
            if event.time_ns > since[0]:
                states.append(
                    State(since[0], event.time_ns, Doing.QEMU, reason=since[1], exit_ns=since[0])
                )
            since = None
    return Spans(states)


def _names(material: Material) -> frozenset[str]:
    sources = (("host", material.host), ("guest", material.guest), ("qemu", material.qemu))
    seen = {f"{word}:{name}" for word, parsed in sources for name in parsed.seen}
    names = seen | material.meta.recorded
    if material.counters.looks:
        names.add("proc:schedstat")
    return frozenset(names)


def _at(events: Iterable[Event], kind: type) -> Spans[At]:
    return Spans(
        [
            At(event.time_ns, event.time_ns + 1, event.tid, event.cpu, event.what)
            for event in events
            if isinstance(event.what, kind)
        ]
    )


def _guest(material: Material, events: Sequence[Event]) -> Guest | None:
    cpu = cpus_of(events).get(material.vcpu) if material.in_guest else None
    if cpu is None:
        return None
    probe = material.meta.probe_tid
    own = [event for event in events if isinstance(event.what, Waking) and event.what.tid == probe]
    alive = (
        event for event in events if event.cpu == material.vcpu and not isinstance(event.what, Lost)
    )
    covers = (events[0].time_ns, events[-1].time_ns + 1)
    return Guest(covers=covers, cpu=cpu, wakings=_at(own, Waking), alive=_at(alive, object))
