"""Temporary files and memory that disappear with us, whatever ends us.

Files without a name are freed by the kernel with their last descriptor.  A directory needs a
name, so a small shell waits on a pipe from us and removes it when the pipe closes, which it
also does when vmjitter is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REAPER = 'trap "" INT TERM HUP; read -r _; rm -rf -- "$1"'


@contextmanager
def anonymous_memory(size_bytes: int) -> Iterator[int]:
    """A descriptor of zeroed memory with no name in any file system (memfd_create(2))."""
    fd = os.memfd_create("vmjitter", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size_bytes)
        yield fd
    finally:
        os.close(fd)


def fd_path(fd: int) -> str:
    """The name under which a child that inherits ``fd`` can open the same file again."""
    return f"/proc/self/fd/{fd}"


@contextmanager
def scratch_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory below ``parent``, removed at the end, also after SIGKILL."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).absolute()
    reaper = subprocess.Popen(
        ["/bin/sh", "-c", _REAPER, "vmjitter-reaper", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield path
    finally:
        if reaper.stdin is not None:
            reaper.stdin.close()
        reaper.wait()
        shutil.rmtree(path, ignore_errors=True)
