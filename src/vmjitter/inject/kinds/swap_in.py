"""Memory of the guest is swapped out, and the guest wants it back.

The swap takes its time for each page, see `vmjitter.inject.swap_device`.  So a page that is paged
out is not gone: it is written, and stays in memory as long as nobody needs the room.  Gone at once
is only a page that has not changed since it was written (``shrink_folio_list`` in the kernel's
mm/vmscan.c).  So all of the guest's memory is written before the probe starts, what the guest uses
comes back without a read, and a few pages at a time are paged out once more.  For this

* a page is paged out **twice**.  MADV_PAGEOUT keeps what has been used, and KVM's own page tables
  say whether it has; to be asked makes them forget (``folio_check_references`` there, and
  ``mmu_notifier_clear_flush_young``).  So it is in Linux 6.1; it no longer asks since the commit
  "mm: madvise: pageout: ignore references rather than clearing young" of 2024.
* it is done **on the virtual CPU's CPU**, in the time that it leaves over.  A page that was used or
  put back lately waits in a list of the CPU where that was, and cannot be taken from there by
  another CPU (``folio_batch`` in mm/swap.c; MADV_PAGEOUT empties that of its own CPU first).
* huge pages are split before, or they would be written as a whole whenever a part of them has
  changed: to page out a part of one splits it (``madvise_cold_or_pageout_pte_range`` in
  mm/madvise.c).

A guest has many pages, and few of them are used by a wake-up.  Which, is asked in the same way:
what is kept has been used since it was last asked for.  Of these some are paged out.  Some of them
have changed: they are written again, and not read.  Those are not tried a second time.

When the swap reads is looked up without a pause: KVM may let a worker read a page, so the state of
the virtual CPU's thread does not tell.  What was not wanted in time is read by this program, so
that no wake-up has to wait for it later, unlogged.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from vmjitter.errors import CommandFailed
from vmjitter.inject.hands import Hands, Span, cpu_of
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.inject.memory import Memory
from vmjitter.inject.swap_device import SwapDevice
from vmjitter.units import NS_PER_MS

_HUGE: Final = 512
"""Pages of a huge page."""

_ROUNDS: Final = 2
"""What is used in the first one, is written in the second."""

_ASKED: Final = 32
"""Pages at a time: more would make a wake-up late, as KVM maps each anew when it is used."""

_TAKEN, _AGAIN = 2, 2
"""Of these, pages that are tried, and beside them pages that were wanted before."""

_WANTED_NS: Final = 10 * NS_PER_MS
_LOOK_S: Final = 1e-4
_SETTLES_S: Final = 0.01
_GOLDEN: Final = (5**0.5 - 1) / 2


class _Swapping:
    """What is done to one guest.

    Args:
        hands: of the trial.
        latency_ns: of the swap.
    """

    def __init__(self, hands: Hands, latency_ns: int) -> None:
        self.latency_ns = latency_ns
        self._hands = hands
        self._memory = Memory(hands.main_tid)
        self._device = SwapDevice(latency_ns, self._memory.size_bytes)
        self._unknown: deque[int] = deque()
        self._wanted: deque[int] = deque()
        self._looks: list[tuple[int, bool]] = []

    def write_all(self) -> None:
        """Have everything in the swap."""
        for first in range(0, self._memory.pages, _HUGE):
            self._memory.page_out([first])
        for _ in range(_ROUNDS):
            self._memory.page_out_all()
            self._memory.page_out_all()
            while any(self._device.under_way()):
                time.sleep(_SETTLES_S)

    def take_some(self) -> list[Span]:
        """Page some pages out; returns from when until when the swap read."""
        if not self._unknown and not self._wanted:
            self._begin()
            return []
        self._looks.clear()
        asked = sorted(_first(self._unknown, _ASKED))
        with self._hands.idle_on(cpu_of(self._hands.vcpu_tid)):
            self._memory.page_out(asked)
            used = deque(self._mapped(asked))
            taken = sorted([*_first(used, _TAKEN), *_first(self._wanted, _AGAIN)])
            self._memory.page_out(taken)
            self._memory.page_out(taken)
        end_ns = time.monotonic_ns() + _WANTED_NS
        while self._look() < end_ns:
            pass
        if spans(self._looks):
            self._wanted.extend(self._mapped(taken))
        self._unknown.extend(used)
        self._bring_back(sorted([*asked, *taken]))
        return spans(self._looks)

    def _begin(self) -> None:
        """From now on, what is kept has been used in the meantime."""
        used = self._memory.mapped()
        with self._hands.idle_on(cpu_of(self._hands.vcpu_tid)):
            self._memory.page_out(used)
        self._unknown.extend(mixed(used))

    def _bring_back(self, pages: list[int]) -> None:
        self._memory.fetch(sorted({*pages} - {*self._mapped(pages)}))
        self._look()
        while self._looks[-1][1]:
            self._look()
        while any(self._device.under_way()):
            time.sleep(_LOOK_S)

    def _mapped(self, pages: Iterable[int]) -> list[int]:
        """Those that are; it takes a while, so it looks in between."""
        found = []
        for page in pages:
            self._look()
            if self._memory.is_mapped(page):
                found.append(page)
        return found

    def _look(self) -> int:
        """Note whether the swap reads; returns the time."""
        now_ns = time.monotonic_ns()
        reads, _ = self._device.under_way()
        self._looks.append((now_ns, reads > 0))
        return now_ns


_current: list[_Swapping] = []
"""Of this program's one guest, as soon as it is prepared."""


def _prepare(hands: Hands, length_ns: int) -> None:
    if not _current:
        swapping = _Swapping(hands, length_ns)
        swapping.write_all()
        _current.append(swapping)
    elif _current[0].latency_ns != length_ns:
        raise CommandFailed("swap-in: there is one swap, so there is one length for all")


def _inject(_hands: Hands, _length_ns: int) -> Done:
    return [("swap-in", *span) for span in _current[0].take_some()]


def _first(pages: deque[int], count: int) -> list[int]:
    """Take up to so many from the begin."""
    taken = list(islice(pages, count))
    for _ in taken:
        pages.popleft()
    return taken


def mixed(pages: Iterable[int]) -> list[int]:
    """In an order in which neighbours come far apart, since neighbours are used together.

    As for the times of disturbances, see ``_shift`` in `vmjitter.inject.program`.
    """
    return sorted(pages, key=lambda page: page * _GOLDEN % 1)


def spans(looks: Iterable[tuple[int, bool]]) -> list[Span]:
    """From when until when something was seen: first and last look of each stretch.

    Args:
        looks: time in ns, and whether it was seen then, in the order of time.
    """
    found: list[Span] = []
    before = False
    for time_ns, seen in looks:
        if seen and before:
            found[-1] = (found[-1][0], time_ns)
        elif seen:
            found.append((time_ns, time_ns))
        before = seen
    return found


KIND: Final = Kind(
    name="swap-in",
    what="pages of the guest are swapped out, and read when it wants them",
    length_ns=NS_PER_MS,
    causes=frozenset({"swap"}),
    inject=_inject,
    prepare=_prepare,
)
