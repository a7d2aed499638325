"""Places that are threads: an id alone would name another thread once this one has ended."""

from __future__ import annotations

import errno
import os

from vmjitter.effects.threads import Thread, thread


def thread_place(one: Thread) -> str:
    """The place of a thread: its id and its start."""
    return f"{one.tid}@{one.started}"


def tid_of(place: str) -> int | None:
    """The id of the thread, or None if it has ended."""
    tid, _, started = place.partition("@")
    found = thread(int(tid))
    return found.tid if found is not None and str(found.started) == started else None


def tid_or_error(place: str) -> int:
    """Like `tid_of`, but raises ProcessLookupError."""
    tid = tid_of(place)
    if tid is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return tid
