"""``meta.json``: how a trace was made, what it lacks, and what we did ourselves meanwhile."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from vmjitter.effects.clock import now_ns

TRACE_DIR: Final = "trace"
META_FILE: Final = "meta.json"
HOST_FILE: Final = "host.txt.gz"
GUEST_FILE: Final = "guest.txt.gz"
QEMU_FILE: Final = "qemu.log.gz"
COUNTERS_FILE: Final = "proc.csv"

FORMAT: Final = 1
_MOST_ACTIONS: Final = 20_000


@dataclass(kw_only=True)
class Action:
    """Something of ours that may have disturbed the measurement; the host's CLOCK_MONOTONIC."""

    host_ns: int
    end_ns: int
    what: str


@dataclass(kw_only=True)
class Kept:
    """A stretch of time whose events are in ``host.txt.gz``.

    Attributes:
        from_ns: from here on the ring of every CPU is complete.
        to_ns: up to here.
        why: what it was kept for.
    """

    from_ns: int
    to_ns: int
    why: str


@dataclass(kw_only=True)
class TraceRecord:
    """The content of ``meta.json``; field names are file format.

    Attributes:
        rung: of the ladder in docs/method/tracing.md, 1 the best; ``why`` says why not a better.
        threads: role and name by thread id, of everything that belongs to the trial.
        kvm_tsc: for each vCPU what debugfs says of its TSC, as text by name.
        lost: events that the rings overwrote or dropped.
        realtime: pairs of CLOCK_REALTIME and CLOCK_MONOTONIC, ns, at the start and at the end.
    """

    rung: int = 3
    why: str = ""
    clock: str = "mono"
    qemu_pid: int | None = None
    threads: dict[int, dict[str, str]] = field(default_factory=dict)
    probe_guest_tid: int | None = None
    guest_tasks: dict[int, str] = field(default_factory=dict)
    host_events: list[str] = field(default_factory=list)
    host_missing: list[str] = field(default_factory=list)
    guest_events: list[str] = field(default_factory=list)
    guest_missing: list[str] = field(default_factory=list)
    qemu_events: list[str] = field(default_factory=list)
    qemu_missing: list[str] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=lambda: {"host": 0, "guest": 0})
    kvm_tsc: dict[str, dict[str, str]] = field(default_factory=dict)
    realtime: list[tuple[int, int]] = field(default_factory=list)
    keep: str = "all"
    kept: list[Kept] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    own_actions: deque[Action] = field(default_factory=lambda: deque(maxlen=_MOST_ACTIONS))
    forgotten_actions: int = 0

    @contextmanager
    def action(self, what: str) -> Iterator[None]:
        """Note when something of ours begins and ends."""
        begin_ns = now_ns()
        try:
            yield
        finally:
            self.note_action(begin_ns, now_ns(), what)

    def note_action(self, begin_ns: int, end_ns: int, what: str) -> None:
        """Note what has been done; of very many the oldest are forgotten, and counted."""
        if len(self.own_actions) == _MOST_ACTIONS:
            self.forgotten_actions += 1
        self.own_actions.append(Action(host_ns=begin_ns, end_ns=end_ns, what=what))

    def to_json(self) -> str:
        """The text of the file."""
        fields = {
            one.name: getattr(self, one.name)
            for one in dataclasses.fields(self)
            if one.name not in {"kept", "own_actions"}
        }
        lists = {
            "kept": [dataclasses.asdict(one) for one in self.kept],
            "own_actions": [dataclasses.asdict(one) for one in self.own_actions],
        }
        return json.dumps({"format": FORMAT, **fields, **lists}, indent=1) + "\n"
