"""The shared memory as the host sees it: typed views of its regions.

Counters that the other side writes while we read are 32 bits wide; on x86 an aligned 32-bit
access is one access, and stores become visible in program order (Intel SDM, volume 3, 9.2.2).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from typing import Final, Self

from vmjitter.guest import layout

SHM_BYTES: Final = 16 << 20
"""Default size.  Its ring holds 2^19 records, 8.7 minutes at 1 kHz, between two drains."""


class SharedMemory:
    """Regions of the memory behind ``fd``; initialised on construction.

    Args:
        fd: a file of ``size`` bytes; stays owned by the caller.
        size: a power of two.
    """

    def __init__(self, fd: int, size: int = SHM_BYTES) -> None:
        self._map = mmap.mmap(fd, size)
        self.size = size
        self.ring_records = 1 << ((size - layout.OFF_RING) // layout.RECORD_BYTES).bit_length() - 1
        self.header = layout.ShmHeader.from_buffer(self._map, layout.OFF_HEADER)
        self.control = layout.Control.from_buffer(self._map, layout.OFF_CONTROL)
        self.clock = layout.ClockCell.from_buffer(self._map, layout.OFF_CLOCK)
        self.probe = layout.ProbeResult.from_buffer(self._map, layout.OFF_PROBE)
        self.stream = layout.StreamHeader.from_buffer(self._map, layout.OFF_STREAM)
        slots = layout.LoadSlot * layout.LOAD_SLOTS
        self.loads = slots.from_buffer(self._map, layout.OFF_LOADS)
        self.header.version = layout.VERSION
        self.header.total_bytes = size
        self.header.ring_records = self.ring_records
        ctypes.memmove(ctypes.byref(self.header), layout.SHM_MAGIC, len(layout.SHM_MAGIC))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, offset: int, data: bytes) -> None:
        """Copy ``data`` to ``offset``."""
        self._map[offset : offset + len(data)] = data

    def read(self, offset: int, length: int) -> bytes:
        """Copy ``length`` bytes from ``offset``."""
        return self._map[offset : offset + length]

    def ring(self, first: int, count: int) -> bytes:
        """``count`` records of the stream from number ``first`` on, wherever they stand."""
        start = first & (self.ring_records - 1)
        until_end = min(count, self.ring_records - start)
        return self._records(start, until_end) + self._records(0, count - until_end)

    def stream_header(self) -> bytes:
        """The stream's header as it stands now."""
        return self.read(layout.OFF_STREAM, ctypes.sizeof(layout.StreamHeader))

    def close(self) -> None:
        """Unmap; views taken earlier must not be used any more.  Safe to call twice."""
        for name in ("header", "control", "clock", "probe", "stream", "loads"):
            self.__dict__.pop(name, None)
        # While an error is on its way out, the frames in its traceback may still hold a view; the
        # memory is then unmapped with the last of them.  The error must not be hidden by ours.
        with contextlib.suppress(BufferError):
            self._map.close()

    def _records(self, index: int, count: int) -> bytes:
        size = layout.RECORD_BYTES
        return self.read(layout.OFF_RING + index * size, count * size)


class Drain:
    """Takes new records out of the ring, in order, and notices when it came too late."""

    def __init__(self, shm: SharedMemory) -> None:
        self._shm = shm
        self.taken = 0
        self.lost = 0

    def take(self) -> bytes:
        """All records written since the last call.

        ``lost`` counts those that were overwritten before we came; they are missing from the
        stream, so a trial with any is invalid.
        """
        behind = (self._shm.probe.written - self.taken) & 0xFFFFFFFF
        if behind > self._shm.ring_records:
            self.lost += behind - self._shm.ring_records
            self.taken += behind - self._shm.ring_records
            behind = self._shm.ring_records
        records = self._shm.ring(self.taken, behind)
        self.taken += behind
        return records
