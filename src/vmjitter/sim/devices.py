"""The simulated host's own disk; runs inside."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vmjitter.effects import process
from vmjitter.errors import CommandFailed

DISK_DIR: Final = Path("/disk")
_CONFIG: Final = Path("/sys/kernel/config/nullb/nullb0")
# Documented is a number in the disk's name, Linux 6.1 takes the directory's: here both are the same
_DEVICE: Final = "/dev/nullb0"
_MIB: Final = 1 << 20


def make_disk(size_bytes: int, latency_ns: int, depth: int) -> Path:
    """Make a disk in memory that takes its time, with an ext4 on it, and mount it.

    It is `null_blk`, whose requests are completed by a timer: ``irqmode`` 2 and ``completion_nsec``
    (Linux Documentation/block/null_blk.rst).

    Args:
        size_bytes: size; memory is used for what is written only.
        latency_ns: service time of each request.
        depth: requests that are served at the same time.

    Returns:
        Where it is mounted.

    Raises:
        CommandFailed: the kernel refuses, or has no null_blk.
    """
    values = {
        "size": size_bytes // _MIB,
        "memory_backed": 1,
        "submit_queues": 1,
        "hw_queue_depth": depth,
        "irqmode": 2 if latency_ns else 0,
        "completion_nsec": latency_ns,
        "power": 1,
    }
    try:
        _CONFIG.mkdir()
        for name, value in values.items():
            (_CONFIG / name).write_text(str(value))
    except OSError as error:
        raise CommandFailed(f"null_blk: {error.filename}: {error.strerror}") from error
    # few inodes and no lazy initialisation, which would go on while something is measured
    extended = "nodiscard,lazy_itable_init=0,lazy_journal_init=0"
    mke2fs = process.find_program("mke2fs", hint="vmjitter sim build --refresh")
    process.check([mke2fs, "-q", "-t", "ext4", "-N", "1024", "-E", extended, _DEVICE])
    process.check(["mount", "-t", "ext4", "-o", "noatime", _DEVICE, str(DISK_DIR)])
    return DISK_DIR
