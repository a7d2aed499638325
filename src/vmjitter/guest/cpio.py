"""Write the initramfs archive: cpio, format "newc", as bytes.

The same entries give the same bytes, whatever their order and whoever runs it: sorted names,
no times, owner root, inode numbers counted from 1.  Device nodes need no privilege because
they are only entries of the archive.  Format: Linux Documentation/driver-api/early-userspace/
buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = b"070701"
_TRAILER: Final = "TRAILER!!!"
_ALIGNMENT: Final = 4
_BLOCK: Final = 512


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file, directory, symbolic link or device node.

    Args:
        name: path without a leading slash, e.g. ``"bin/sh"``.
        mode: type and permissions as in ``st_mode``.
        data: contents of a file, or target of a symbolic link.
        device: major and minor number of a device node.
    """

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(name: str, data: bytes, *, mode: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(name=name, mode=stat.S_IFREG | mode, data=data)


def directory(name: str) -> Entry:
    """A directory that all may read."""
    return Entry(name=name, mode=stat.S_IFDIR | 0o755)


def symlink(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name=name, mode=stat.S_IFLNK | 0o777, data=target.encode())


def character_device(name: str, major: int, minor: int, *, mode: int = 0o600) -> Entry:
    """A character device node."""
    return Entry(name=name, mode=stat.S_IFCHR | mode, device=(major, minor))


def pack(entries: Iterable[Entry]) -> bytes:
    """Return the archive; directories that the names need are added.

    Raises:
        ValueError: a name is given twice, is absolute, or leaves the archive.
    """
    ordered = _with_parents(entries)
    # st_nlink of a directory is at least 2; the kernel treats more than 1 for a file as hard links
    parts = [
        _record(entry, inode, 2 if stat.S_ISDIR(entry.mode) else 1)
        for inode, entry in enumerate(ordered, start=1)
    ]
    parts.append(_record(Entry(name=_TRAILER, mode=0), 0, 1))
    archive = b"".join(parts)
    return archive + bytes(-len(archive) % _BLOCK)


def _with_parents(entries: Iterable[Entry]) -> list[Entry]:
    known: dict[str, Entry] = {}
    for entry in entries:
        parts = entry.name.split("/")
        if any(part in {"", ".", ".."} for part in parts) or entry.name == _TRAILER:
            raise ValueError(f"not a name inside an archive: {entry.name!r}")
        if entry.name in known:
            raise ValueError(f"twice in the archive: {entry.name!r}")
        known[entry.name] = entry
    for name in list(known):
        parts = name.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            known.setdefault(parent, directory(parent))
    # by components, so that a directory comes before what is in it
    return sorted(known.values(), key=lambda entry: entry.name.split("/"))


def _record(entry: Entry, inode: int, links: int) -> bytes:
    name = entry.name.encode() + b"\0"
    fields = (
        inode,
        entry.mode,
        0,  # owner
        0,  # group
        links,
        0,  # time of modification
        len(entry.data),
        0,  # device that holds the file: major
        0,  # and minor
        *entry.device,
        len(name),
        0,  # checksum, unused in this format
    )
    header = _MAGIC + b"".join(b"%08x" % value for value in fields)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
