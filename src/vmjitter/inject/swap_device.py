"""A swap device that takes its time for each page, in the simulated host.

It is a `null_blk` in memory, like the simulated host's disk, see `vmjitter.sim.devices`.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from vmjitter.errors import CommandFailed
from vmjitter.inject.memory import PAGE_BYTES

_DISKS: Final = Path("/sys/kernel/config/nullb")
_OWN_DISK: Final = _DISKS / "nullb0"
"""The simulated host's disk.  Elsewhere no swap is made, since it would be left behind."""

_NAME: Final = "nullb1"
_DEVICE: Final = Path("/dev") / _NAME
_INFLIGHT: Final = Path("/sys/block") / _NAME / "inflight"
_CLUSTER: Final = Path("/proc/sys/vm/page-cluster")
_MIB: Final = 1 << 20
_SLOTS: Final = 64
_SWAPON: Final = 167
"""Number of the system call on x86-64."""


class SwapDevice:
    """The swap of this host from now on.

    Args:
        latency_ns: how long it takes to read or write a page.
        memory_bytes: how much may be swapped out.  It has room for twice that: from half full on, a
            page is forgotten by the swap when it is read (``vm_swap_full`` in the kernel's
            include/linux/swap.h).

    Raises:
        CommandFailed: this is no simulated host, or its kernel refuses.
    """

    def __init__(self, latency_ns: int, memory_bytes: int) -> None:
        if not _OWN_DISK.is_dir():
            raise CommandFailed("swap-in makes a swap device of its own: in a simulated host only")
        try:
            self._make(latency_ns, _MIB * (2 * memory_bytes // _MIB + 1))
            self._inflight = os.open(_INFLIGHT, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CommandFailed(f"swap: {error.filename or ''} {error.strerror}") from error

    def under_way(self) -> tuple[int, int]:
        """Number of reads and writes under way (Linux Documentation/block/stat.rst)."""
        reads, writes = os.pread(self._inflight, 64, 0).split()
        return int(reads), int(writes)

    def _make(self, latency_ns: int, size_bytes: int) -> None:
        values = {
            "size": size_bytes // _MIB,
            "memory_backed": 1,
            "submit_queues": 1,
            "hw_queue_depth": _SLOTS,
            "irqmode": 2,
            "completion_nsec": latency_ns,
            "power": 1,
        }
        (_DISKS / _NAME).mkdir()
        for name, value in values.items():
            (_DISKS / _NAME / name).write_text(str(value))
        with _DEVICE.open("r+b", buffering=0) as device:
            device.write(swap_header(size_bytes // PAGE_BYTES))
            os.fsync(device.fileno())
        if ctypes.CDLL(None, use_errno=True).syscall(_SWAPON, bytes(_DEVICE), 0) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(_DEVICE))
        _CLUSTER.write_text("0")  # read what is wanted, and not its neighbours


def swap_header(pages: int) -> bytes:
    """The first page of a swap device of so many pages, as mkswap(8) writes it.

    ``union swap_header`` in the kernel's include/linux/swap.h.
    """
    header = bytearray(PAGE_BYTES)
    header[1024:1028] = (1).to_bytes(4, "little")  # version
    header[1028:1032] = (pages - 1).to_bytes(4, "little")  # last page
    header[-10:] = b"SWAPSPACE2"
    return bytes(header)
