"""Writing files so that a reader never sees half of one, and errors that name file and remedy."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from vmjitter.errors import DataError

TEMP_SUFFIX = ".tmp"
"""Files that end so are leftovers of an interrupted write and mean nothing."""

_HINTS = {
    errno.ENOSPC: "free space on that disk, or choose another place with --output; "
    "what is stored so far stays readable: vmjitter report",
    errno.EDQUOT: "raise the quota, or choose another place with --output; "
    "what is stored so far stays readable: vmjitter report",
    errno.EACCES: "choose a place that you may write to with --output",
    errno.EROFS: "choose a place that can be written with --output",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the operating system into a `DataError` that names the file.

    Raises:
        DataError: the disk is full, the place is read-only and so on.
    """
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check the disk and the permissions of that place")
        raise DataError(f"cannot write {path}: {error.strerror or error}", hint=hint) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file by ``text``: the old content or the new, never half of it.

    Raises:
        DataError: it cannot be written; the old content is unchanged.
    """
    with writing(path), replacing(path) as temp, temp.open("w", encoding="utf-8") as file:
        file.write(text)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path; what is written there takes the place of ``path`` at the end.

    It is on the disk before it gets its name, so that not even a power failure leaves an
    empty file behind.  If the block fails, ``path`` is left as it was.
    """
    temp = path.with_name(path.name + TEMP_SUFFIX)
    try:
        yield temp
        _sync(temp)
        temp.replace(path)
        _sync(path.parent)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
