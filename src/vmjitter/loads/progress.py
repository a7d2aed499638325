"""The proof that a load ran: its operations, second by second.

`LoadMonitor` copies the counters out of the shared memory at a low rate; the rest is pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory
from vmjitter.model.run import LoadResult
from vmjitter.units import NS_PER_S

STALL_LIMIT_S: Final = 3
"""So many whole seconds without any operation make a trial invalid."""

_STATES: Final = {
    layout.RUN_NONE: "not started",
    layout.RUN_STARTING: "starting",
    layout.RUN_RUNNING: "running",
    layout.RUN_DONE: "ended",
    layout.RUN_FAILED: "failed",
}


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One load's counters at the end of the measured phase.

    Attributes:
        start_ns: start of second 0 on the clock of the side where it runs.
        history: operations per second from second 0; the last one may be incomplete.
    """

    name: str
    side: str
    unit: str
    rate: int
    start_ns: int
    history: tuple[int, ...]
    errors: int
    state: str
    message: str


@dataclass(kw_only=True)
class _Slot:
    index: int
    name: str
    side: str
    history: list[int] = field(default_factory=list)


class LoadMonitor:
    """Follows the slots of a trial's loads."""

    def __init__(self, shm: SharedMemory) -> None:
        self._shm = shm
        self._slots: list[_Slot] = []

    def add(self, index: int, name: str, side: str) -> None:
        """Follow one more slot."""
        self._slots.append(_Slot(index=index, name=name, side=side))

    def poll(self) -> None:
        """Copy the seconds completed since the last call; call at least once an hour."""
        for slot in self._slots:
            self._copy(slot, upto=int(self._shm.loads[slot.index].second))

    def rates(self) -> dict[str, float]:
        """Operations in the last completed second of each load, by name.

        Where both sides run a load of that name, the host's has its side added.
        """
        rates: dict[str, float] = {}
        for slot in self._slots:
            if slot.history:
                name = f"{slot.name} ({slot.side})" if slot.name in rates else slot.name
                rates[name] = float(slot.history[-1])
        return rates

    def waiting_for(self) -> str:
        """The first load that has not done anything yet, with its state; empty if all have."""
        for slot in self._slots:
            view = self._shm.loads[slot.index]
            if view.state == layout.RUN_FAILED:
                return f"{slot.name}: {view.message.decode(errors='replace')}"
            if view.ops == 0:
                return f"{slot.name} ({_STATES.get(view.state, '?')})"
        return ""

    def working(self) -> str:
        """How many slots have counted something, of all, such as "3/5"."""
        up = sum(1 for slot in self._slots if self._shm.loads[slot.index].ops)
        return f"{up}/{len(self._slots)}"

    def failed(self) -> str:
        """Name and message of the first load that failed; empty if none has."""
        for slot in self._slots:
            view = self._shm.loads[slot.index]
            if view.state == layout.RUN_FAILED:
                return f"{slot.name}: {view.message.decode(errors='replace')}"
        return ""

    def all_ended(self, dead: Collection[int] = ()) -> bool:
        """Whether no load is running any more.

        Args:
            dead: slots of loads that were killed, and so cannot say that they have ended.
        """
        ended = (layout.RUN_DONE, layout.RUN_FAILED)
        return all(
            self._shm.loads[slot.index].state in ended
            for slot in self._slots
            if slot.index not in dead
        )

    def snapshot(self) -> tuple[Counted, ...]:
        """All counters as they stand now, the running second included."""
        return tuple(self._counted(slot) for slot in self._slots)

    def _copy(self, slot: _Slot, upto: int) -> None:
        history = self._shm.loads[slot.index].history
        for second in range(len(slot.history), upto):
            slot.history.append(int(history[second % layout.LOAD_HISTORY]))

    def _counted(self, slot: _Slot) -> Counted:
        view = self._shm.loads[slot.index]
        second = int(view.second)
        self._copy(slot, upto=second)
        running = int(view.history[second % layout.LOAD_HISTORY])
        return Counted(
            name=slot.name,
            side=slot.side,
            unit=view.unit.decode(errors="replace"),
            rate=int(view.rate),
            start_ns=int(view.start_ns),
            history=(*slot.history, running),
            errors=int(view.errors),
            state=_STATES.get(int(view.state), "unknown"),
            message=view.message.decode(errors="replace"),
        )


def judge_load(counted: Counted, begin_ns: int, end_ns: int) -> LoadResult:
    """What a load did between two times on its own clock.

    Only whole seconds inside the phase are counted; in a phase too short for one, the seconds that
    touch it.  A load that was killed does not count any further, so seconds that its history
    does not reach are seconds without an operation.
    """
    history = counted.history
    inside = _seconds(counted, begin_ns, end_ns)
    ops = [history[second] if second < len(history) else 0 for second in inside]
    return LoadResult(
        name=counted.name,
        side=counted.side,
        unit=counted.unit,
        rate_wanted=counted.rate,
        ops=sum(ops),
        seconds=len(ops),
        min_per_s=min(ops, default=0),
        longest_stall_s=_longest_run_of_zeros(ops),
        errors=counted.errors,
        state=counted.state,
        message=counted.message,
    )


def load_rows(counted: Sequence[Counted]) -> Iterator[tuple[str, str, int, int]]:
    """Rows (load, side, start of the second, operations) of all loads, for storage."""
    for load in counted:
        for second, ops in enumerate(load.history):
            yield load.name, load.side, load.start_ns + second * NS_PER_S, ops


def _seconds(counted: Counted, begin_ns: int, end_ns: int) -> range:
    first = max(0, -((counted.start_ns - begin_ns) // NS_PER_S))
    last = (end_ns - counted.start_ns) // NS_PER_S
    if first < last:
        return range(first, last)
    touched = max(0, (begin_ns - counted.start_ns) // NS_PER_S)
    return range(touched, last + 1)


def _longest_run_of_zeros(values: Sequence[int]) -> int:
    longest = current = 0
    for value in values:
        current = current + 1 if value == 0 else 0
        longest = max(longest, current)
    return longest
