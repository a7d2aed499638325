"""Priorities above all real-time threads, and memory that is never waited for; for this process."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Final

_SCHED_DEADLINE: Final = 6
_MCL_CURRENT_AND_FUTURE: Final = 1 | 2
_SCHED_SETATTR: Final = {"x86_64": 314, "i686": 351, "i586": 351, "aarch64": 274, "riscv64": 274}
"""Number of sched_setattr(2), for which the C library has no function before glibc 2.41."""


class _Attributes(ctypes.Structure):
    """``struct sched_attr`` of sched_setattr(2), in its first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def become_deadline(runtime_ns: int, period_ns: int) -> None:
    """Make this thread SCHED_DEADLINE: it comes before every SCHED_FIFO thread (sched(7)).

    It must be allowed on all CPUs.  It cannot start threads or processes afterwards.

    Args:
        runtime_ns: how long it may run in each period; the kernel keeps that free for it.
        period_ns: likewise, and the deadline.

    Raises:
        OSError: the kernel refuses, or this is a processor whose number of the call is not known.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    wanted = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=_SCHED_DEADLINE,
        runtime_ns=runtime_ns,
        deadline_ns=period_ns,
        period_ns=period_ns,
    )
    _check(_libc().syscall(number, 0, ctypes.byref(wanted), 0))


def lock_memory() -> None:
    """Keep all memory of this process, now and later, from being swapped out (mlockall(2)).

    Raises:
        OSError: the limit is too low (RLIMIT_MEMLOCK).
    """
    _check(_libc().mlockall(_MCL_CURRENT_AND_FUTURE))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
