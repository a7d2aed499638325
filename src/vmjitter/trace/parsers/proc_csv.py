"""``proc.csv``: counters of QEMU's threads, from /proc/TID/schedstat and stat.

``run_delay_ns`` is the second field of schedstat: time in which the thread could have run, but did
not (Documentation/scheduler/sched-stats.rst); KVM hands the same counter to the guest as steal time
(``record_steal_time`` in arch/x86/kvm/x86.c).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_COLUMNS: Final = ("host_ns", "tid", "run_delay_ns", "cpu_ns", "minflt", "majflt")


class Look(NamedTuple):
    """The counters of one thread at one time; all of them only grow."""

    host_ns: int
    tid: int
    run_delay_ns: int
    cpu_ns: int
    minflt: int
    majflt: int


@dataclass(frozen=True, kw_only=True)
class Counters:
    """All looks at the counters, by thread, in the order of time.

    Attributes:
        broken: lines that are cut or not of the format.
    """

    looks: dict[int, list[Look]] = field(default_factory=dict)
    broken: int = 0


def parse_proc_csv(lines: Iterable[str]) -> Counters:
    """Read the counters; the first line names the columns."""
    rows = iter(lines)
    head = [name.strip() for name in next(rows, "").split(",")]
    places = _places(head)
    looks: dict[int, list[Look]] = {}
    broken = 0
    for line in rows:
        cells = line.strip().split(",")
        if (
            places is None
            or len(cells) < len(head)
            or not all(cells[at].isdecimal() for at in places)
        ):
            broken += bool(line.strip())
            continue
        look = Look(*(int(cells[at]) for at in places))
        looks.setdefault(look.tid, []).append(look)
    for thread in looks.values():
        thread.sort()
    return Counters(looks=looks, broken=broken)


def _places(head: list[str]) -> list[int] | None:
    try:
        return [head.index(name) for name in _COLUMNS]
    except ValueError:
        return None
