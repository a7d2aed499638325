"""Another tool's file: read, decompressed, its format recognised."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import pyarrow as pa

from vmjitter.config.parse import nearest
from vmjitter.errors import DataError, UsageError
from vmjitter.report.importers import IMPORTERS
from vmjitter.report.importers.base import Imported, Importer

HEAD_BYTES: Final = 64 << 10
MAX_TEXT_BYTES: Final = 256 << 20
MAX_BINARY_BYTES: Final = 4 << 30

_SUMMARY: Final = "summary.xml"
_MAX_MEMBERS: Final = 100_000
_HINT: Final = "name its format with --format; vmjitter import --list shows them"
_DAMAGED: Final = "fetch it again from where it was measured"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def _zstd(stream: BinaryIO) -> _Readable:
    return pa.CompressedInputStream(pa.PythonFile(cast(io.IOBase, stream), mode="r"), "zstd")


_OPENERS: Final[dict[bytes, Callable[[BinaryIO], _Readable]]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
    b"\x28\xb5\x2f\xfd": _zstd,
}
"""How a compressed file is opened, by how it begins."""

_SUFFIXES: Final = (".gz", ".xz", ".bz2", ".zst")


def import_file(path: Path, format: str | None = None) -> Imported:  # noqa: A002
    """Read another tool's result.

    Args:
        path: the file; also compressed with gzip, xz, bzip2 or zstd, and rteval's archive.
        format: name of an importer; recognised from the content if None.

    Raises:
        UsageError: there is no such format.
        DataError: it cannot be read, is of no known format, too large, or damaged.
    """
    importer = None if format is None else importer_named(format)
    content = _content(path)
    name = path.name
    while name.endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    if importer is None:
        importer = recognise(content[:HEAD_BYTES], name, str(path))
    return importer.read(content, str(path))


def importer_named(name: str) -> Importer:
    """The importer of a format.

    Raises:
        UsageError: there is none of that name.
    """
    known = {importer.name: importer for importer in IMPORTERS}
    if name not in known:
        raise UsageError(f"there is no format {name!r} to import", hint=nearest(name, known))
    return known[name]


def recognise(head: bytes, name: str, place: str) -> Importer:
    """The importer of a file that begins so.

    Args:
        head: its first `HEAD_BYTES`.
        name: of the file, without that of a compression.
        place: for the error.

    Raises:
        DataError: it is of no known format.
    """
    for importer in IMPORTERS:
        if importer.matches(head, name):
            return importer
    known = ", ".join(importer.name for importer in IMPORTERS)
    what = "the file is empty" if not head.strip() else f"it is of none of the formats {known}"
    raise DataError(f"{place}: {what}", hint=_HINT)


def _content(path: Path) -> bytes:
    """The content, decompressed; of rteval's archive the summary in it.

    Raises:
        DataError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as stream:
            content = _decompressed(stream, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}", hint="check its name"
        ) from error
    return _summary(content, path) if content[257:262] == b"ustar" else content


def _decompressed(stream: io.BufferedReader, path: Path) -> bytes:
    magic = stream.peek(8)  # a pipe cannot be rewound
    opener = next((each for start, each in _OPENERS.items() if magic.startswith(start)), None)
    if opener is None:
        return _limited(stream, path)
    try:
        with closing(opener(stream)) as inner:
            return _limited(inner, path)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, pa.ArrowException) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} cannot be decompressed: {why}", hint=_DAMAGED) from error


def _limited(stream: _Readable, path: Path) -> bytes:
    """All of it, unless it is more than any result: a small file may decompress to anything."""
    head = stream.read(HEAD_BYTES)
    limit = MAX_BINARY_BYTES if b"\0" in head else MAX_TEXT_BYTES
    parts, size = [head], len(head)
    while part := stream.read(1 << 20):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise DataError(
                f"{path} holds more than {limit >> 20} MiB",
                hint="split it, or import the tool's histogram instead of single values",
            )
    return b"".join(parts)


def _summary(content: bytes, path: Path) -> bytes:
    """``summary.xml`` of an archive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for place, member in enumerate(archive):
                if member.isfile() and Path(member.name).name == _SUMMARY:
                    found = archive.extractfile(member)
                    return found.read() if found else b""
                if place > _MAX_MEMBERS:
                    break
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is a damaged archive: {error}", hint=_DAMAGED) from error
    raise DataError(
        f"{path} is an archive without a {_SUMMARY}",
        hint="unpack it, and import the file with the result",
    )
