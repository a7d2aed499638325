"""A directory in the simulated host, copied to this machine while it grows."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from vmjitter.errors import DataError
from vmjitter.sim.tape import Record, TapeWriter

_HEAD: Final = 4096
_WHOLE: Final = 64 << 10


class Mirror:
    """The sending half: puts on tape what has changed since the last time.

    Files below 64 KiB are sent as a whole; longer ones are taken to grow at their end, and their
    head, which a program may have gone back to, is sent once more by `finish`.

    Args:
        root: the directory.
        tape: where records go; their paths are relative to ``root``.
    """

    def __init__(self, root: Path, tape: TapeWriter) -> None:
        self._root = root
        self._tape = tape
        self._sent: dict[str, tuple[int, int, int]] = {}

    def send(self) -> None:
        """Send what is new."""
        for path in sorted(self._root.rglob("*")):
            # a file under a temporary name will come under its own
            if path.suffix != ".tmp" and not path.name.startswith(".") and path.is_file():
                self._send(path)

    def finish(self) -> None:
        """Send what is new, short files once more, and the heads of the long ones.

        What was written twice within one tick of the file system's clock looks unchanged.
        """
        self.send()
        for name, (_, _, size) in self._sent.items():
            with suppress(FileNotFoundError), (self._root / name).open("rb") as file:
                whole = size <= _WHOLE
                self._tape.write_file(name, file.read(_WHOLE if whole else _HEAD), whole=whole)

    def _send(self, path: Path) -> None:
        name = str(path.relative_to(self._root))
        status = path.stat()
        inode, mtime_ns, size = self._sent.get(name, (0, 0, 0))
        if (inode, mtime_ns, size) == (status.st_ino, status.st_mtime_ns, status.st_size):
            return
        grew = status.st_ino == inode and status.st_size >= size
        offset = size if grew and status.st_size > _WHOLE else 0
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(status.st_size - offset)
        if data or not offset:
            self._tape.write_file(name, data, offset)
        self._sent[name] = (status.st_ino, status.st_mtime_ns, offset + len(data))


def receive(record: Record, root: Path, name: str) -> None:
    """Put a part of a file in its place below ``root``.

    Args:
        record: of the kind "file".
        root: made if it does not exist.
        name: path of the file below ``root``.

    Raises:
        DataError: the path leaves ``root``.
        OSError: it cannot be written.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"a record for the file {name!r}, which is not below its directory")
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    offset = record.integer("offset")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if record.head.get("last"):
            os.ftruncate(descriptor, offset + len(record.payload))
        os.pwrite(descriptor, record.payload, offset)
        if mode := record.head.get("mode"):
            os.fchmod(descriptor, int(str(mode)))
    finally:
        os.close(descriptor)
