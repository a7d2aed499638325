"""Clock offset between guest and host, over two cache lines of shared memory.

The host writes a number and notes its time, the guest answers with its own time, the host notes
its time again.  The guest's reading was taken somewhere between the two, so half the round trip
bounds the error; the best of many rounds counts.  (Cristian 1989, "Probabilistic clock
synchronization".)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from vmjitter.effects.clock import now_ns
from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory
from vmjitter.model.run import ClockOffset
from vmjitter.units import NS_PER_S

ROUNDS: Final = 500
_LIMIT_NS: Final = NS_PER_S


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round trip: host clock before and after, guest clock in between."""

    sent_ns: int
    guest_ns: int
    received_ns: int


def best_offset(rounds: Iterable[Round]) -> ClockOffset | None:
    """The offset from the shortest round trip; None without any."""
    known = list(rounds)
    if not known:
        return None
    best = min(known, key=lambda r: r.received_ns - r.sent_ns)
    middle = (best.sent_ns + best.received_ns) // 2
    return ClockOffset(
        offset_ns=best.guest_ns - middle,
        bound_ns=(best.received_ns - best.sent_ns + 1) // 2,
        host_ns=middle,
        rounds=len(known),
    )


def play(shm: SharedMemory, check_alive: Callable[[], None]) -> list[Round]:
    """Play ping-pong with an agent that is spinning on the clock cell.

    Ends after `ROUNDS` rounds or one second; spinning is meant: nothing is measured meanwhile.
    """
    cell = shm.clock
    end_ns = now_ns() + _LIMIT_NS
    rounds: list[Round] = []
    for number in range(1, ROUNDS + 1):
        sent_ns = now_ns()
        cell.clock_req = number
        while cell.clock_ack != number and now_ns() < end_ns:
            pass
        received_ns = now_ns()
        if cell.clock_ack != number:
            check_alive()
            break
        rounds.append(Round(sent_ns=sent_ns, guest_ns=cell.guest_ns, received_ns=received_ns))
    cell.clock_req = layout.CLOCK_END
    return rounds
