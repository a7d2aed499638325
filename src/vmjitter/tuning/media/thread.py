"""Places that are threads: an id alone would name another thread once this one has ended."""

from __future__ import annotations

import errno
import os

from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import Thread, thread


def thread_place(one: Thread) -> str:
    """The place of a thread: its id and its start."""
    return f"{one.tid}@{one.started}"


def tid_of(place: str) -> int | None:
    """The id of the thread, or None if it has ended."""
    tid, _, started = place.partition("@")
    found = thread(int(tid))
    return found.tid if found is not None and str(found.started) == started else None


def still_runs(place: str) -> bool:
    """Whether the thread is there and has not ended; one that nobody waited for has (proc(5))."""
    tid = tid_of(place)
    stat = SysTree().read(f"/proc/{tid}/stat") if tid is not None else None
    return stat is not None and stat.rpartition(")")[2].split()[0] not in "ZX"


def tid_or_error(place: str) -> int:
    """Like `tid_of`, but raises ProcessLookupError."""
    tid = tid_of(place)
    if tid is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return tid
