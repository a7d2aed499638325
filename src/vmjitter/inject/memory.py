"""The memory of a running program, page by page: which is mapped, out with it, back again.

process_madvise(2), pidfd_open(2); which pages are mapped is in ``/proc/PID/pagemap`` (Linux
Documentation/admin-guide/mm/pagemap.rst).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from vmjitter.errors import CommandFailed

PAGE_BYTES: Final = 4096
_ENTRY_BYTES: Final = 8
_PRESENT: Final = 1 << 63

_PIDFD_OPEN, _PROCESS_MADVISE = 434, 440
"""Numbers of the system calls, the same on all architectures."""
_WILLNEED, _PAGEOUT = 3, 21
_MOST: Final = 1024
"""Stretches for one call: UIO_MAXIOV."""

Run = tuple[int, int]
"""Number of the first page and how many."""


class _Vector(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Memory:
    """A program's longest mapping: of QEMU, the guest's memory.  Pages are counted from its start.

    Args:
        pid: of the program.

    Raises:
        CommandFailed, OSError: it is gone, or may not be looked at.
    """

    def __init__(self, pid: int) -> None:
        text = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        self._start, end = longest(text)
        self.size_bytes = end - self._start
        self.pages = self.size_bytes // PAGE_BYTES
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._pidfd = self._call(_PIDFD_OPEN, pid, 0)
        self._pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the program."""
        os.close(self._pidfd)
        os.close(self._pagemap)

    def mapped(self) -> list[int]:
        """The pages that the program can access without a page fault."""
        entries = self._entries(0, self.pages)
        return [page for page, entry in enumerate(entries) if entry & _PRESENT]

    def is_mapped(self, page: int) -> bool:
        """Whether this is one of them."""
        return bool(self._entries(page, 1)[0] & _PRESENT)

    def page_out(self, pages: Iterable[int]) -> None:
        """Take away what has not been used since the last call (MADV_PAGEOUT).

        A page that has changed is written to the swap, and stays in memory until somebody needs the
        room; one that is there already is gone at once.
        """
        self._advise(_PAGEOUT, runs(pages))

    def page_out_all(self) -> None:
        """The same with all of them."""
        self._advise(_PAGEOUT, [(0, self.pages)])

    def fetch(self, pages: Iterable[int]) -> None:
        """Begin to read pages from the swap, so that they are in memory (MADV_WILLNEED)."""
        self._advise(_WILLNEED, runs(pages))

    def _entries(self, first: int, count: int) -> memoryview:
        place = (self._start // PAGE_BYTES + first) * _ENTRY_BYTES
        return memoryview(os.pread(self._pagemap, count * _ENTRY_BYTES, place)).cast("Q")

    def _advise(self, advice: int, stretches: Sequence[Run]) -> None:
        for place in range(0, len(stretches), _MOST):
            some = stretches[place : place + _MOST]
            vectors = (_Vector * len(some))(*map(self._vector, some))
            self._call(_PROCESS_MADVISE, self._pidfd, vectors, len(some), advice, 0)

    def _vector(self, run: Run) -> _Vector:
        first, count = run
        return _Vector(self._start + first * PAGE_BYTES, count * PAGE_BYTES)

    def _call(self, *words: object) -> int:
        result = int(self._libc.syscall(*words))
        if result < 0:
            raise CommandFailed(f"a program's memory: {os.strerror(ctypes.get_errno())}")
        return result


def longest(maps: str) -> tuple[int, int]:
    """Start and end of the longest mapping in the text of /proc/PID/maps (proc_pid_maps(5))."""
    spans = (line.split(maxsplit=1)[0].split("-") for line in maps.splitlines())
    return max(((int(a, 16), int(b, 16)) for a, b in spans), key=lambda span: span[1] - span[0])


def runs(pages: Iterable[int]) -> list[Run]:
    """Numbers in rising order, as stretches without a gap."""
    found: list[Run] = []
    for page in pages:
        first, count = found[-1] if found else (page, 0)
        if found and page == first + count:
            found[-1] = (first, count + 1)
        else:
            found.append((page, 1))
    return found
