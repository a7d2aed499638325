"""Causes put together by whom they belong to: a device, or others on the host.

The distinction is the one of the paper's sections 4.1 and 4.2: the time that the emulation of a
device takes on the virtual CPU's own thread, and contention with everything else on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from vmjitter.trace.attribute import Attribution, Share
from vmjitter.trace.rules import UNEXPLAINED, rule_of
from vmjitter.trace.rules.culprits import by_qemu
from vmjitter.trace.rules.rule import Side


class Party(StrEnum):
    """Who had the time of a late wake-up.

    Attributes:
        EMULATION: QEMU worked on the virtual CPU's thread: registers of devices, its own requests.
        LOCK: the virtual CPU waited for QEMU's lock.
        QEMU_THREADS: another thread of this QEMU, or one that serves it, had the CPU.
        HOST: anybody else on the host: tasks, interrupts, timers, the disk, swapping.
        KVM: exits and page faults that KVM handles itself.
        GUEST: the guest's own kernel and tasks.
        BELOW: hardware, or a hypervisor below.
        PROBE: vmjitter, or the activation before.
    """

    EMULATION = "emulation"
    LOCK = "QEMU lock"
    QEMU_THREADS = "QEMU threads"
    HOST = "host"
    KVM = "KVM"
    GUEST = "guest"
    BELOW = "below"
    PROBE = "probe"
    UNEXPLAINED = UNEXPLAINED


CONTENTION: Final = frozenset({Party.LOCK, Party.QEMU_THREADS, Party.HOST})
"""What is not the device's own cost, but that of sharing the host."""

_BY_CAUSE: Final[Mapping[str, Party]] = MappingProxyType(
    {"lock-wait": Party.LOCK, UNEXPLAINED: Party.UNEXPLAINED}
)
_BY_SIDE: Final[Mapping[Side, Party]] = MappingProxyType(
    {
        Side.OBSERVER: Party.PROBE,
        Side.PROBE: Party.PROBE,
        Side.GUEST: Party.GUEST,
        Side.HOST: Party.HOST,
        Side.QEMU: Party.EMULATION,
        Side.KVM: Party.KVM,
        Side.BELOW: Party.BELOW,
    }
)
_TAKEN: Final = frozenset({"preempted", "run-queue"})


def parties(one: Attribution) -> dict[Party, int]:
    """The time of each in a wake-up, in ns; the sum is its latency.

    What a cause took counts here even if it was too little for the cause to be named: ten exits of
    5 µs, each of another kind, are 50 µs of KVM.
    """
    found: dict[Party, int] = {Party.UNEXPLAINED: -sum(share.ns for share in one.small)}
    for share in (*one.shares, *one.small):
        for party, time_ns in _of(share):
            found[party] = found.get(party, 0) + time_ns
    return found


def _of(share: Share) -> list[tuple[Party, int]]:
    rule = rule_of(share.cause)
    party = _BY_CAUSE.get(share.cause)
    if party is None and rule is not None:
        party = _BY_SIDE[rule.side]
    if party is None:  # a cause of a newer version has no party here
        return [(Party.UNEXPLAINED, share.ns)]
    if share.cause not in _TAKEN:
        return [(party, share.ns)]
    own = sum(ns for detail, ns in share.details if by_qemu(detail))
    return [(Party.QEMU_THREADS, own), (Party.HOST, share.ns - own)]
