"""QEMU's own trace, ``-trace ... -msg timestamp=on -D FILE``: ``tid@seconds.micros:event fields``.

The format is that of QEMU's log backend (scripts/tracetool/backend/log.py), the fields are those of
the files ``trace-events`` in QEMU 7.2.  Times are CLOCK_REALTIME.  What else is in the log is
skipped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from vmjitter.trace.events import (
    Access,
    Event,
    LockFreed,
    LockTaken,
    LockWait,
    Lost,
    Other,
    Request,
    RunBegins,
    Source,
    UserExit,
    What,
)
from vmjitter.trace.intervals import Interval, inside
from vmjitter.trace.parsers import Parsed

_LINE: Final = re.compile(r"(\d+)@(\d+)\.(\d{6}):(\w+) ?(.*)$")
_CUT: Final = re.compile(r"\d+@[\d.]*(:\w*)?$")
_KVM_RUN: Final = 0xAE80
"""The number of that ioctl (include/uapi/linux/kvm.h)."""

_EXITS: Final = {2: "IO", 5: "HLT", 6: "MMIO", 10: "INTR", 21: "S390_TSCH", 24: "SYSTEM_EVENT"}
"""The exit reasons of KVM's interface that matter here (include/uapi/linux/kvm.h)."""

_LOCK: Final = re.compile(r"(?:waiting on|taken|released) mutex (0x[0-9a-f]+) \((.*):(\d+)\)")
_ACCESS: Final = re.compile(
    r"cpu -?\d+ (?:mr \S+ )?addr (0x[0-9a-f]+) value \S+ size \d+(?: name '(.*)')?"
)
_RUN_EXIT: Final = re.compile(r"cpu_index -?\d+, reason (\d+)")
_IOCTL: Final = re.compile(r"cpu_index -?\d+, type (0x[0-9a-f]+)")

_REQUESTS: Final = (
    "virtio_blk_",
    "blk_",
    "bdrv_",
    "handle_qmp_command",
    "monitor_qmp_cmd_",
    "dma_",
)


def _place(match: re.Match[str]) -> str:
    return f"{match[2].lstrip('./')}:{match[3]}"


def _access(match: re.Match[str], *, write: bool) -> What:
    return Access("device", write, int(match[1], 16), match[2] or "")


def _ioctl(match: re.Match[str]) -> What:
    if int(match[1], 16) == _KVM_RUN:
        return RunBegins()
    return Other("kvm_vcpu_ioctl")


_READERS: Final[dict[str, tuple[re.Pattern[str], Callable[[re.Match[str]], What]]]] = {
    "qemu_mutex_lock": (_LOCK, lambda m: LockWait(m[1], _place(m))),
    "qemu_mutex_locked": (_LOCK, lambda m: LockTaken(m[1], _place(m))),
    "qemu_mutex_unlock": (_LOCK, lambda m: LockFreed(m[1])),
    "memory_region_ops_read": (_ACCESS, lambda m: _access(m, write=False)),
    "memory_region_ops_write": (_ACCESS, lambda m: _access(m, write=True)),
    "kvm_run_exit": (_RUN_EXIT, lambda m: UserExit(_EXITS.get(int(m[1]), m[1]))),
    "kvm_vcpu_ioctl": (_IOCTL, _ioctl),
}


def parse_qemu_log(lines: Iterable[str], keep: Sequence[Interval] | None = None) -> Parsed:
    """Read a log; times in ns of CLOCK_REALTIME.

    Args:
        lines: with or without their line ends.
        keep: as for `parse_ftrace`.
    """
    reader = _Reader(keep)
    for number, line in enumerate(lines, 1):
        reader.read(number, line.rstrip("\r\n"))
    return reader.parsed()


class _Reader:
    def __init__(self, keep: Sequence[Interval] | None) -> None:
        self._keep = keep
        self._events: list[Event] = []
        self._seen: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._left_out = False
        self._broken = 0
        self._first_broken = ""

    def read(self, number: int, line: str) -> None:
        match = _LINE.match(line)
        if match is None:
            if _CUT.match(line):
                self._break(number, line)
            return
        time_ns = int(match[2]) * 10**9 + int(match[3]) * 1000
        if self._keep is not None and not inside(time_ns, self._keep):
            self._seen[match[4]] += 1
            self._left_out = True
            return
        what = _payload(match[4], match[5])
        if what is None:
            self._break(number, line)
            return
        self._seen[match[4]] += 1
        self._unknown[match[4]] += isinstance(what, Other)
        if self._left_out:
            self._add(time_ns, -1, Lost(0, time_ns))
            self._left_out = False
        self._add(time_ns, int(match[1]), what)

    def _add(self, time_ns: int, tid: int, what: What) -> None:
        self._events.append(Event(time_ns, Source.QEMU, len(self._events), -1, tid, "", what))

    def _break(self, number: int, line: str) -> None:
        self._broken += 1
        self._first_broken = self._first_broken or f"line {number}: {line[:80]}"

    def parsed(self) -> Parsed:
        return Parsed(
            events=self._events,
            seen=self._seen,
            unknown=+self._unknown,
            broken=self._broken,
            first_broken=self._first_broken,
        )


def _payload(name: str, rest: str) -> What | None:
    """The record of an event, or None if its line is cut."""
    known = _READERS.get(name)
    if known is not None:
        match = known[0].match(rest)
        return known[1](match) if match is not None else None
    if name.startswith(_REQUESTS):
        return Request(name, rest)
    return Other(name)
