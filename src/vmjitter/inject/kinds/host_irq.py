"""An interrupt on the virtual CPU's CPU takes long: thousands of timers are due at once.

All callbacks of timers that are due run in one timer interrupt (``hrtimer_interrupt``), so its
length follows from their number.  A timer belongs to the CPU on which it was set.  They are set
there by this program at the lowest of all priorities, SCHED_IDLE, in the time that the virtual CPU
leaves over, well before they are due.  Timers of the same time go off in the order in which
they were set, so the last one's count tells the end.
"""

from __future__ import annotations

import ctypes
import os
import resource
import time
from typing import Final

from vmjitter.errors import CommandFailed
from vmjitter.inject.hands import Hands, cpu_of
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.units import NS_PER_MS, NS_PER_S

_TRIAL: Final = 500
_TRIES: Final = 20
_MOST: Final = 20_000
_AHEAD_NS: Final = 12 * NS_PER_MS
"""From the first timer's setting to their time, for every `_TRIAL` of them less than 1 ms."""

_ABSOLUTE: Final = 1
"""TFD_TIMER_ABSTIME of timerfd_settime(2)."""


class _Spec(ctypes.Structure):
    """``struct itimerspec``."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "due_s", "due_ns"))


class Timers:
    """Timers that can be set to one time, and cost a known time when it comes."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fds: list[int] = []
        self.ns_each = 0

    def make(self, count: int) -> None:
        """See to it that there are so many."""
        _allow_files(count + 256)
        while len(self._fds) < count:
            fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "timerfd_create")
            self._fds.append(fd)

    def close(self) -> None:
        """Give all of them back."""
        while self._fds:
            os.close(self._fds.pop())

    def set(self, count: int, due_ns: int, *, group: int = 0, apart_ns: int = 0) -> int:
        """Set the first ``count`` of them; returns the descriptor of the last one.

        Args:
            count: how many.
            due_ns: of the first ones.
            group: so many to the same time, the next ones ``apart_ns`` later; 0: all of them.
        """
        settime = self._libc.timerfd_settime
        group = group or count
        for place in range(0, count, group):
            spec = _Spec(0, 0, *divmod(due_ns + place // group * apart_ns, NS_PER_S))
            where = ctypes.byref(spec)
            for fd in self._fds[place : min(place + group, count)]:
                settime(fd, _ABSOLUTE, where, None)
        return self._fds[count - 1]


def _allow_files(count: int) -> None:
    unlimited = resource.RLIM_INFINITY
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft not in (unlimited, max(soft, count)):
        hard = hard if hard == unlimited else max(hard, count)
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


_TIMERS: Final = Timers()


def _prepare(hands: Hands, length_ns: int) -> None:
    _TIMERS.make(_TRIAL)
    tries = _TRIES
    while not _TIMERS.ns_each:
        for begin_ns, end_ns in _go_off(hands, _TRIAL):
            _TIMERS.ns_each = max(1, (end_ns - begin_ns) // _TRIAL)
        tries -= 1
        if not tries:
            raise CommandFailed("the virtual CPU's CPU leaves no time over to set timers on it")
    _TIMERS.make(_count(length_ns))


def _count(length_ns: int) -> int:
    return min(_MOST, max(1, length_ns // _TIMERS.ns_each))


def _inject(hands: Hands, length_ns: int) -> Done:
    return [("host-irq", *span) for span in _go_off(hands, _count(length_ns))]


def _go_off(hands: Hands, count: int) -> list[tuple[int, int]]:
    """From when until when they went off; nothing if they could not be set in time."""
    due_ns = time.monotonic_ns() + _AHEAD_NS + count * NS_PER_MS // _TRIAL
    with hands.idle_on(cpu_of(hands.vcpu_tid)):
        last = _TIMERS.set(count, due_ns)
    if time.monotonic_ns() >= due_ns:
        return []
    hands.sleep_until(due_ns)
    while not went_off(last):
        time.sleep(1e-6)
    return [(due_ns, time.monotonic_ns())]


def went_off(fd: int) -> bool:
    """Whether a timer has come."""
    try:
        os.read(fd, 8)
    except BlockingIOError:
        return False
    return True


KIND: Final = Kind(
    name="host-irq",
    what="thousands of timers go off at once on the virtual CPU's CPU",
    length_ns=NS_PER_MS,
    causes=frozenset({"host-irq"}),
    inject=_inject,
    prepare=_prepare,
)
