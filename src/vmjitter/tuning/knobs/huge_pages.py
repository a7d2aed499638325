"""Huge pages for the guest's memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from vmjitter.errors import MissingCapability
from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.change import Change
from vmjitter.tuning.knob import Host, Knob, Needs

_PAGE_BYTES: Final = 2 << 20
_POOL: Final = "/sys/kernel/mm/hugepages/hugepages-2048kB"


@dataclass(frozen=True, kw_only=True)
class HugePages(Knob):
    """The pool of the kernel is made large enough, and QEMU takes its memory from there."""

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        if not host.tree.usable(f"{_POOL}/nr_hugepages"):
            return f"{_POOL}/nr_hugepages cannot be written to: root can, where the kernel has it"
        if host.guest_bytes % _PAGE_BYTES:
            return "the guest's memory is no multiple of 2 MiB"
        return ""

    def on_host(self, host: Host) -> tuple[Change, ...]:
        """As many more pages as the guest needs and the pool has not free."""
        free = int(host.tree.read(f"{_POOL}/free_hugepages") or 0)
        have = int(host.tree.read(f"{_POOL}/nr_hugepages") or 0)
        more = max(0, host.guest_bytes // _PAGE_BYTES - free)
        place = f"{_POOL}/nr_hugepages"
        return (Change(medium="file", place=place, wanted=str(have + more)),) if more else ()

    def on_machine(self, machine: Machine, host: Host) -> Machine:
        """Back the memory by them.

        Raises:
            MissingCapability: there are not enough, and QEMU would not start.
        """
        free = int(host.tree.read(f"{_POOL}/free_hugepages") or 0)
        wanted = machine.memory_bytes // _PAGE_BYTES
        if free < wanted:
            raise MissingCapability(
                f"only {free} of {wanted} huge pages are free",
                hint="start it soon after the host, before memory is in pieces, or make the pool "
                "with hugepages=N on the kernel's command line",
            )
        return replace(machine, huge_page_bytes=_PAGE_BYTES, prealloc=True)


KNOB: Final = HugePages(
    name="huge-pages",
    effect="the guest's memory is in pages of 2 MiB that are never swapped or merged",
    needs=Needs.QEMU,
    worth="fewer misses of the TLB and no second-level faults while it runs",
    risk="the memory is gone for everybody else; too few free in one piece, and it does not start",
)
