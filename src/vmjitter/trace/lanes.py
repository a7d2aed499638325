"""What happened around a wake-up, as lanes of a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vmjitter.trace.attribute import Attribution
from vmjitter.trace.intervals import Interval, clip
from vmjitter.trace.scene import Scene
from vmjitter.trace.spans import HasSpan


class Bar(NamedTuple):
    """A stretch of a lane, on the host's clock."""

    start: int
    end: int
    label: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One line of a timeline.

    Attributes:
        group: "causes", "host", "QEMU" or "guest".
        bars: in the order of time; they may touch.
    """

    group: str
    name: str
    bars: tuple[Bar, ...]


def lanes(scene: Scene, attribution: Attribution, around: Interval) -> tuple[Lane, ...]:
    """Everything that is known of the time around a wake-up; lanes without bars are left out."""
    every = (
        Lane(group="causes", name="cause", bars=_causes(attribution)),
        *_threads(scene, around),
        *_cpus(scene, around),
        *_qemu(scene, around),
        *_guest(scene, around),
    )
    return tuple(lane for lane in every if lane.bars)


def _causes(attribution: Attribution) -> tuple[Bar, ...]:
    return tuple(
        sorted(
            Bar(piece.start, piece.end, share.cause, piece.detail)
            for share in attribution.shares
            for piece in share.pieces
        )
    )


def _threads(scene: Scene, around: Interval) -> Iterator[Lane]:
    for tid, states in scene.states.items():
        bars = tuple(
            Bar(*part, str(state.doing), state.reason)
            for state in states.within(around)
            if (part := _part(state, around)) is not None
        )
        yield Lane(group="host", name=scene.who(tid), bars=bars)


def _cpus(scene: Scene, around: Interval) -> Iterator[Lane]:
    for number, cpu in scene.cpus.items():
        turns = (
            Bar(*part, turn.comm or str(turn.tid), str(turn.tid))
            for turn in cpu.turns.within(around)
            if turn.tid and (part := _part(turn, around)) is not None
        )
        yield Lane(group="host", name=f"CPU {number}", bars=tuple(turns))
        served = (
            Bar(*part, one.name, one.kind)
            for one in cpu.served.within(around)
            if (part := _part(one, around)) is not None
        )
        yield Lane(group="host", name=f"CPU {number} interrupts", bars=tuple(served))


def _qemu(scene: Scene, around: Interval) -> Iterator[Lane]:
    waits = (
        Bar(*part, f"{scene.who(wait.tid)} waits", f"held at {wait.holder_place}")
        for wait in scene.locks.waits.within(around)
        if (part := _part(wait, around)) is not None
    )
    yield Lane(group="QEMU", name="waits for locks", bars=tuple(waits))
    requests = (
        Bar(*part, request.what, request.device)
        for request in scene.disk.within(around)
        if (part := _part(request, around)) is not None
    )
    yield Lane(group="host", name="disk", bars=tuple(requests))


def _guest(scene: Scene, around: Interval) -> Iterator[Lane]:
    if scene.guest is None:
        return
    turns = (
        Bar(*part, turn.comm or "idle", str(turn.tid))
        for turn in scene.guest.cpu.turns.within(around)
        if (part := _part(turn, around)) is not None
    )
    yield Lane(group="guest", name="tasks", bars=tuple(turns))
    served = (
        Bar(*part, one.name, one.kind)
        for one in scene.guest.cpu.served.within(around)
        if (part := _part(one, around)) is not None
    )
    yield Lane(group="guest", name="interrupts", bars=tuple(served))


def _part(span: HasSpan, around: Interval) -> Interval | None:
    return clip((span.start, span.end), around)
