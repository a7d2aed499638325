"""Records on a raw disk, the only way into and out of a simulated host.

A simulator offers neither a network nor a shared directory, but every one has disks, and a disk
image is a file that can be read while it is written.  A tape is such a disk: records one after
another, each a header of one sector and a payload in whole sectors.  A record counts once its
checksum is right, so a reader may look at any time, and a simulator may be killed at any time.

Header, little-endian: magic, sequence number, length of the name or head, length of the payload,
CRC-32 of all that follows.  Then the head, JSON, and zeros up to the sector's end.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from vmjitter.errors import DataError

END: Final = "end"
"""Kind of the last record: the job is done, well or not."""
PROGRESS: Final = "progress"
"""Kind of a record that says how far it is."""
TICK: Final = "tick"
"""Kind of a record that says no more than that the simulated host is alive."""
SECTOR: Final = 512
MAGIC: Final = b"VMJTAPE1"
_FIXED: Final = struct.Struct("<8sQIII")
_HEAD_CAP: Final = SECTOR - _FIXED.size
_SALT: Final = 0x564D4A54
"""Where the checksum begins; from 0, a sector of zeros behind a magic would be a record."""
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record.

    Attributes:
        kind: what it is, e.g. ``"file"``.
        head: small values by name, as JSON knows them.
    """

    kind: str
    head: Mapping[str, object] = field(default_factory=dict)
    payload: bytes = b""

    def integer(self, name: str) -> int:
        """A whole number from the head.

        Raises:
            DataError: it is not there or is no number.
        """
        value = self.head.get(name)
        if not isinstance(value, int):
            raise DataError(f"a {self.kind} record without the number {name!r}")
        return value

    def text(self, name: str) -> str:
        """A text from the head.

        Raises:
            DataError: it is not there or is no text.
        """
        value = self.head.get(name)
        if not isinstance(value, str):
            raise DataError(f"a {self.kind} record without the text {name!r}")
        return value


def encode(record: Record, sequence: int) -> bytes:
    """A record as it stands on the tape, in whole sectors.

    Raises:
        ValueError: its head is too long.
    """
    head = json.dumps([record.kind, dict(record.head)], separators=(",", ":")).encode()
    if len(head) > _HEAD_CAP:
        raise ValueError(f"the head of a {record.kind} record is too long: {len(head)} bytes")
    checksum = zlib.crc32(record.payload, zlib.crc32(head, _SALT))
    fixed = _FIXED.pack(MAGIC, sequence, len(head), len(record.payload), checksum)
    data = (fixed + head).ljust(SECTOR, b"\0") + record.payload
    return data + bytes(-len(data) % SECTOR)


class TapeWriter:
    """Writes records to a file or a block device.

    Args:
        path: it must exist and be long enough.
        direct: go past the page cache, so that a record is on the disk when `write` returns, in
            one request and without a flush (open(2), O_DIRECT).
    """

    def __init__(self, path: Path, *, direct: bool = False) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | (os.O_DIRECT if direct else 0))
        self._buffer = mmap.mmap(-1, _CHUNK)  # O_DIRECT wants aligned memory
        self._end = 0
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._buffer.close()
        os.close(self._fd)

    def write(self, record: Record) -> None:
        """Append a record; large payloads are split where they are files.

        Raises:
            OSError: the disk is full or broken.
        """
        data = encode(record, self._sequence)
        for start in range(0, len(data), _CHUNK):
            part = data[start : start + _CHUNK]
            self._buffer[: len(part)] = part
            with memoryview(self._buffer) as whole, whole[: len(part)] as view:
                if os.pwrite(self._fd, view, self._end + start) < len(part):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(data)
        self._sequence += 1

    def write_file(
        self, path: str, data: bytes, offset: int = 0, *, mode: int = 0o644, whole: bool = True
    ) -> None:
        """Append part of a file.

        Args:
            path: relative to where the reader puts files.
            data: what stands in it from ``offset`` on.
            offset: place of the first byte.
            mode: permissions.
            whole: the file ends with ``data``; else what is behind stays.
        """
        for start in range(0, max(1, len(data)), _CHUNK):
            last = start + _CHUNK >= len(data) and whole
            head = {"path": path, "offset": offset + start, "mode": mode, "last": last}
            self.write(Record(kind="file", head=head, payload=data[start : start + _CHUNK]))


class TapeReader:
    """Reads records as they come.

    Args:
        path: the disk image or block device.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._end = 0
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def take(self) -> Iterator[Record]:
        """The records that are complete by now and were not taken yet."""
        while (record := self._next()) is not None:
            yield record

    def _next(self) -> Record | None:
        sector = os.pread(self._fd, SECTOR, self._end)
        if len(sector) < SECTOR or not sector.startswith(MAGIC):
            return None
        _, sequence, head_bytes, payload_bytes, checksum = _FIXED.unpack_from(sector)
        if sequence != self._sequence or head_bytes > _HEAD_CAP:
            return None
        head = sector[_FIXED.size : _FIXED.size + head_bytes]
        payload = self._payload(payload_bytes)
        if zlib.crc32(payload, zlib.crc32(head, _SALT)) != checksum:
            return None  # it is still being written
        self._end += SECTOR + payload_bytes + -payload_bytes % SECTOR
        self._sequence += 1
        kind, values = json.loads(head)
        return Record(kind=kind, head=values, payload=payload)

    def _payload(self, length: int) -> bytes:
        parts = []
        place, end = self._end + SECTOR, self._end + SECTOR + length
        while place < end and (part := os.pread(self._fd, min(_CHUNK, end - place), place)):
            parts.append(part)
            place += len(part)
        return b"".join(parts)
