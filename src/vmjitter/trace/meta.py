"""``meta.json`` of a trace: what was recorded, of whom, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vmjitter.errors import DataError
from vmjitter.trace.intervals import Interval, union

META_FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A thread that the trace knows.

    Attributes:
        role: "vcpu 0", "main loop", "iothread io0", "vhost", "worker", "kvm-pit", "vmjitter",
            "peer", "load NAME", "probe" ...
        name: its own name.
    """

    role: str
    name: str


@dataclass(frozen=True, kw_only=True)
class OwnAction:
    """Something that vmjitter itself did, on the host's clock."""

    start: int
    end: int
    what: str


@dataclass(frozen=True, kw_only=True)
class TraceMeta:
    """See docs/method/attribution.md.

    Attributes:
        rung: 1 tracefs and debugfs, 2 tracefs, 3 QEMU's trace and /proc, 4 guest only.
        why: why it is not a higher one.
        probe_tid: of the probe, in the guest (or on the host if it was measured there).
        recorded: events that were switched on, each as "host:NAME", "guest:NAME", "qemu:NAME".
        missing: events that the kernel or QEMU does not have, likewise.
        lost: events that were lost, by source.
        realtime: pairs of CLOCK_REALTIME and CLOCK_MONOTONIC of the host.
        kept: stretches on the host's clock in which all of its rings are complete; empty if that
            is not said: then they are from beginning to end.
        guest_tasks: what runs in the guest, by its own thread ids, as "load udp".
    """

    rung: int
    why: str
    threads: Mapping[int, Thread]
    probe_tid: int | None
    recorded: frozenset[str]
    missing: frozenset[str]
    lost: Mapping[str, int]
    own_actions: tuple[OwnAction, ...]
    realtime: tuple[tuple[int, int], ...]
    kept: tuple[Interval, ...] = ()
    guest_tasks: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def role(self, tid: int) -> str:
        """The role of a thread, or empty."""
        thread = self.threads.get(tid)
        return thread.role if thread is not None else ""

    @property
    def host_probe(self) -> int:
        """Thread of a probe that ran on the host itself; -1 if it is not known."""
        if self.probe_tid is not None:
            return self.probe_tid
        return max((tid for tid, one in self.threads.items() if one.role == "probe"), default=-1)

    @property
    def vcpus(self) -> dict[int, int]:
        """Thread of each virtual CPU, by its number."""
        found: dict[int, int] = {}
        for tid, thread in self.threads.items():
            word, _, number = thread.role.partition(" ")
            if word == "vcpu" and number.isdecimal():
                found[int(number)] = tid
        return dict(sorted(found.items()))


NO_TRACE: Final = TraceMeta(
    rung=4,
    why="no trace was recorded",
    threads={},
    probe_tid=None,
    recorded=frozenset(),
    missing=frozenset(),
    lost={},
    own_actions=(),
    realtime=(),
)


def parse_meta(text: str, place: str) -> TraceMeta:
    """Read ``meta.json``.

    Args:
        text: its content.
        place: its name, for the error.

    Raises:
        DataError: it is damaged, or of a newer format.
    """
    hint = "record the trace again with `vmjitter run ... --trace`, or restore it from a copy"
    try:
        data = json.loads(text)
        if data["format"] != META_FORMAT:
            raise DataError(
                f"{place} has format {data['format']!r}, this vmjitter reads {META_FORMAT}",
                hint="read it with the vmjitter that measured it, or a newer one",
            )
        return _meta(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{place} is not as vmjitter writes it: {type(error).__name__}: {error}", hint=hint
        ) from error


_SOURCES: Final = ("host", "guest", "qemu")


def _meta(data: dict[str, Any]) -> TraceMeta:
    probe = data.get("probe_guest_tid")
    return TraceMeta(
        rung=int(data["rung"]),
        why=str(data.get("why", "")),
        threads={
            int(tid): Thread(role=str(one["role"]), name=str(one.get("name", "")))
            for tid, one in data.get("threads", {}).items()
        },
        probe_tid=int(probe) if probe is not None else None,
        recorded=_names(data, "events"),
        missing=_names(data, "missing"),
        lost={str(name): int(count) for name, count in data.get("lost", {}).items()},
        own_actions=_actions(data.get("own_actions", [])),
        realtime=tuple((int(real), int(mono)) for real, mono in data.get("realtime", [])),
        kept=tuple(union((int(one["from_ns"]), int(one["to_ns"])) for one in data.get("kept", []))),
        guest_tasks={int(tid): str(one) for tid, one in data.get("guest_tasks", {}).items()},
        notes=tuple(str(note) for note in data.get("notes", [])),
    )


def _names(data: dict[str, Any], kind: str) -> frozenset[str]:
    """Names may be written with their subsystem, as ``sched:sched_switch`` or ``sched/...``."""
    return frozenset(
        f"{source}:{str(name).replace('/', ':').rpartition(':')[2]}"
        for source in _SOURCES
        for name in data.get(f"{source}_{kind}", [])
    )


def _actions(rows: list[dict[str, Any]]) -> tuple[OwnAction, ...]:
    return tuple(
        OwnAction(
            start=int(row["host_ns"]),
            end=max(int(row.get("end_ns", 0)), int(row["host_ns"]) + 1),
            what=str(row.get("what", "")),
        )
        for row in sorted(rows, key=lambda row: int(row["host_ns"]))
    )
