"""Where kernels, programs and guest images are kept, and how they get there.

Nothing half-written is ever visible under its final name: a file or a directory is made under
another name beside it, flushed, and renamed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cache_root() -> Path:
    """The cache directory; not created here.

    ``$VMJITTER_CACHE``, else ``$XDG_CACHE_HOME/vmjitter``, else ``~/.cache/vmjitter``.  A relative
    ``$XDG_CACHE_HOME`` is ignored, as the XDG Base Directory Specification demands.
    """
    own = os.environ.get("VMJITTER_CACHE", "")
    if own:
        return Path(own).absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "vmjitter"


def publish_file(path: Path, data: bytes) -> None:
    """Write a file so that it is seen complete or not at all, also after a power failure.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            # mkstemp makes it private; a cache may be shared
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        temporary.rename(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)


@contextmanager
def publish_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes ``path`` when the block ends without an error.

    The caller holds a lock that covers ``path``.  What a killed predecessor left is removed.  If
    ``path`` exists already it is replaced.

    Raises:
        OSError: it cannot be made or renamed.
    """
    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # one sync instead of thousands of fsync: a kernel package has 4000 files
        os.sync()
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
