"""Make the disk that the guest's disk loads work on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vmjitter.effects import process
from vmjitter.errors import UsageError

# what ext4 of Linux 2.6.32 can mount for writing (fs/ext4/ext4.h of that version,
# EXT4_FEATURE_*_SUPP).  "none" first: what the host's mke2fs.conf adds must not get in, neither
# metadata_csum and 64bit nor what future versions invent
_FEATURES: Final = (
    "none",
    "has_journal",
    "ext_attr",
    "resize_inode",
    "dir_index",
    "filetype",
    "extent",
    "flex_bg",
    "sparse_super",
    "large_file",
    "huge_file",
    "dir_nlink",
    "extra_isize",
)
_UUID: Final = "6a697474-6572-4000-8000-000000000001"
_LABEL: Final = "vmjitter"
_TIME_S: Final = "1000000000"
_SMALLEST: Final = 16 << 20


def make_scratch_disk(path: Path, size_bytes: int) -> None:
    """Make a sparse raw disk with an empty ext4 over all of it; no privilege is needed.

    The same size gives the same bytes with the same mke2fs.  All inode tables are initialised:
    otherwise the guest's kernel would do that in the background while it is measured
    (mke2fs(8), lazy_itable_init).

    Args:
        path: the file; it is replaced if it exists.
        size_bytes: size of the disk, at least 16 MiB.

    Raises:
        UsageError: the size is too small.
        MissingCapability: mke2fs is not installed.
        CommandFailed: mke2fs failed, e.g. for lack of space.
    """
    if size_bytes < _SMALLEST:
        raise UsageError(f"a scratch disk of {size_bytes} bytes is too small", hint="at least 16M")
    mke2fs = process.find_program("mke2fs", hint="install e2fsprogs")
    with path.open("wb") as stream:
        stream.truncate(size_bytes)
    argv = [mke2fs, "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0"]
    argv += ["-O", ",".join(_FEATURES), "-U", _UUID, "-L", _LABEL]
    extended = f"hash_seed={_UUID},root_owner=0:0,nodiscard,lazy_itable_init=0,lazy_journal_init=0"
    argv += ["-E", extended, str(path)]
    # the first is read by e2fsprogs from 1.47.1 on, the second by older ones
    times = {"SOURCE_DATE_EPOCH": _TIME_S, "E2FSPROGS_FAKE_TIME": _TIME_S}
    process.check(argv, env={**os.environ, **times})
