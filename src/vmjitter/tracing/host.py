"""The host's trace events, recorded in rings that nobody reads while it matters.

A flight recorder with two rings per CPU.  One records.  When it holds a wake-up that is to be kept
and is in danger of being overwritten, the other one takes over, and a program of low priority turns
the first one into text meanwhile.  A run that fits into one ring is not touched until its end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from vmjitter.effects.clock import now_ns, pause
from vmjitter.effects.process import Child, find_program
from vmjitter.effects.systree import SysTree
from vmjitter.effects.tracefs import (
    TRACEFS_PLACES,
    KernelTree,
    Ring,
    available_events,
    forget_stale,
    kernel_tree,
)
from vmjitter.errors import CommandFailed, MissingCapability
from vmjitter.model.trace import TraceSpec
from vmjitter.tracing.events import choose, host_events, storms
from vmjitter.tracing.record import Kept, TraceRecord
from vmjitter.units import NS_PER_S

_CLOCK: Final = "mono"
_TRIAL_NS: Final = 4_000_000
_LOOKS_NS: Final = NS_PER_S
"""A ring must reach back to the look before: half a second, and some of it for safety."""
_NEARLY_FULL: Final = 0.5
_SHARE_OF_MEMORY: Final = 8
_CPUS: Final = "/sys/devices/system/cpu"
_FREE: Final = "MemAvailable"
# from its standard input: of a file without a size gzip complains, and that would be in the output
_COMPRESS: Final = 'exec "$0" -1 <"$1" 2>/dev/null'
_READ_S: Final = 3600.0


def affordable(wanted_bytes: int, free_bytes: int, cpus: int) -> int:
    """Size of a ring per CPU: as wanted, but all rings together an eighth of the free memory.

    Args:
        wanted_bytes: per CPU and ring.
        free_bytes: memory that is available; 0 if that is not known.
        cpus: of the host; each has two rings.
    """
    if not free_bytes:
        return wanted_bytes
    return min(wanted_bytes, free_bytes // _SHARE_OF_MEMORY // (2 * max(1, cpus)))


class HostTrace:
    """The recorder; use as a context manager.

    Args:
        spec: how to record.
        record: gets events, losses, kept stretches and notes.
        output: the compressed text; appended to.

    Raises:
        MissingCapability: this kernel or this user cannot trace.
    """

    def __init__(self, spec: TraceSpec, record: TraceRecord, output: Path) -> None:
        self._spec = spec
        self._record = record
        self._output = output
        self._gzip = find_program("gzip", hint="install gzip")
        self._reader: Child | None = None
        self._begin_ns = 0
        self._wanted = ""
        self._lost = 0
        with ExitStack() as stack:
            witness = "available_events"
            tree = stack.enter_context(kernel_tree("tracefs", TRACEFS_PLACES, witness))
            for name in forget_stale(tree):
                record.notes.append(f"a trace instance of a dead process was removed: {name}")
            self._rings = self._make(stack, tree)
            stack.callback(self._end_reader)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def on(self) -> None:
        """Record from now on."""
        self._begin_ns = now_ns()
        self._rings[0].on()

    def off(self) -> None:
        """Record no more."""
        self._rings[0].off()

    def want(self, why: str) -> None:
        """What is in the ring now is to be kept; the first reason of several is noted."""
        self._wanted = self._wanted or why

    def look(self) -> None:
        """Change rings if what is wanted would be lost otherwise."""
        if self._read():
            with self._record.action("empty a trace ring"):
                self._rings[1].clear()
        if not self._wanted or self._reader is not None or self._fill() < _NEARLY_FULL:
            return
        if self._stored() >= self._spec.keep_bytes:
            self._say_full()
            return
        with self._record.action("other trace ring"):
            end_ns = self._take_turns()
        self._start_reading(self._rings[1], end_ns)

    def finish(self, *, wanted: bool) -> None:
        """Turn what is left into text; `off` comes before.

        Args:
            wanted: keep the last ring even if no wake-up in it is to be kept.
        """
        self._wait_reader()
        if (wanted or self._wanted) and self._stored() < self._spec.keep_bytes:
            self._wanted = self._wanted or "the end of the measurement"
            self._start_reading(self._rings[0], now_ns())
            self._wait_reader()
        elif self._wanted:
            self._say_full()
        self._record.lost["host"] = self._lost

    def _make(self, stack: ExitStack, tree: KernelTree) -> tuple[Ring, Ring]:
        events, missing = choose(host_events(self._spec.events), available_events(tree))
        self._bytes = self._size()
        rings = [stack.enter_context(Ring(tree, label)) for label in "ab"]
        for ring in rings:
            ring.configure(clock=_CLOCK, bytes_per_cpu=self._bytes)
        left_out = rings[0].enable(events)
        left_out += self._without_storms(rings[0])
        self._record.host_events = [event for event in events if event not in left_out]
        self._record.host_missing = [*missing, *left_out]
        self._record.clock = _CLOCK
        return rings[0], rings[1]

    def _take_turns(self) -> int:
        """Let the other ring record; returns when the first one ended.

        Nothing is recorded in between, up to half a second on a busy host.  Events chosen by both
        rings all the time would leave no gap, but every event would cost more in every run.
        """
        first, second = self._rings
        first.off()
        end_ns = now_ns()
        first.disable()
        second.enable(self._record.host_events)
        second.on()
        self._rings = second, first
        return end_ns

    def _without_storms(self, ring: Ring) -> list[str]:
        """Try for a moment what would be recorded; returns what is better left out."""
        ring.on()
        pause(_TRIAL_NS)
        ring.off()
        text = ring.text.read_text(errors="replace")
        ring.clear()
        found = storms(text, _TRIAL_NS, len(ring.stats()))
        for event in found:
            self._record.notes.append(f"{event} comes too often here to be recorded")
            ring.disable(event)
        return found

    def _size(self) -> int:
        tree = SysTree()
        cpus = len([name for name in tree.names(_CPUS) if name[3:].isdecimal()])
        lines = (tree.read("/proc/meminfo") or "").splitlines()
        free = next((int(line.split()[1]) << 10 for line in lines if line.startswith(_FREE)), 0)
        size = affordable(self._spec.buffer_bytes, free, cpus)
        if size < self._spec.buffer_bytes:
            note = f"trace rings of {size >> 10} KiB per CPU, for lack of memory for larger ones"
            self._record.notes.append(note)
        return size

    def _fill(self) -> float:
        """Share of the fullest CPU's ring that is in use; 1 where it overwrites already."""
        return max(
            1.0 if int(one["overrun"]) else int(one["bytes"]) / self._bytes
            for one in self._rings[0].stats()
        )

    def _start_reading(self, ring: Ring, end_ns: int) -> None:
        whole_from_ns = self._begin_ns
        for one in ring.stats():
            self._lost += int(one["overrun"]) + int(one["dropped events"])
            if int(one["overrun"]):
                oldest_ns = round(float(one["oldest event ts"]) * NS_PER_S)
                whole_from_ns = max(whole_from_ns, oldest_ns)
        if whole_from_ns > self._begin_ns and end_ns - whole_from_ns < _LOOKS_NS:
            self._note("trace rings hold less than a second here: --set trace.buffer=64M")
        self._record.kept.append(Kept(from_ns=whole_from_ns, to_ns=end_ns, why=self._wanted))
        self._wanted, self._begin_ns = "", now_ns()
        argv = ["/bin/sh", "-c", _COMPRESS, self._gzip, str(ring.text)]
        self._reader = Child(argv, log=self._output, pass_fds=ring.inherit)

    def _read(self) -> bool:
        """Whether the reader has come to its end since the last time."""
        status = self._reader.status() if self._reader is not None else None
        if self._reader is None or status is None:
            return False
        if status != 0:
            self._record.notes.append(f"reading a trace ring failed with status {status}")
        self._reader.close()
        self._reader = None
        return True

    def _wait_reader(self) -> None:
        if self._reader is not None:
            self._reader.wait(_READ_S)
            self._read()

    def _end_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()  # it has the ring open, which could not be removed

    def _stored(self) -> int:
        return self._output.stat().st_size if self._output.exists() else 0

    def _say_full(self) -> None:
        self._note("trace.keep is used up: later wake-ups have no events of the host")
        self._wanted = ""

    def _note(self, text: str) -> None:
        if text not in self._record.notes:
            self._record.notes.append(text)


def host_trace(
    spec: TraceSpec, record: TraceRecord, output: Path, enter: Callable[[HostTrace], HostTrace]
) -> HostTrace | None:
    """A recorder, or None with the reason in the record's ``why``."""
    try:
        return enter(HostTrace(spec, record, output))
    except (MissingCapability, CommandFailed, OSError) as error:
        record.why = f"no trace of the host: {error}"
        return None
