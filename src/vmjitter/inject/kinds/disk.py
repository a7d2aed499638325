"""The host's disk answers late, while QEMU waits for it with its big lock held.

A guest whose disk is slow goes on meanwhile: QEMU's disk threads wait, not the virtual CPU.  What
does stop it is a main loop that reads by itself.  It does so when a disk is plugged in: opening a
file with O_DIRECT, QEMU tries which alignment the disk wants (``raw_probe_alignment`` in its
block/file-posix.c).

When it waits is looked up 5000 times a second: its thread is in the state D then.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Final

from vmjitter.inject.hands import Hands, state_of
from vmjitter.inject.kinds.kind import Done, Kind
from vmjitter.units import NS_PER_MS

_NODE: Final = "vmjitter-inject"
_LOOK_S: Final = 2e-4


def _prepare(hands: Hands, _length_ns: int) -> None:
    if hands.disk_fd >= 0:
        return
    descriptor, name = tempfile.mkstemp(dir=hands.disk_dir)
    Path(name).unlink()
    os.write(descriptor, bytes(1 << 16))
    os.fsync(descriptor)
    hands.disk_fd = descriptor


def _inject(hands: Hands, _length_ns: int) -> Done:
    hands.qemu.send(
        "blockdev-add",
        **{"driver": "file", "node-name": _NODE, "read-only": True, "locking": "off"},
        cache={"direct": True, "no-flush": False},
        filename=f"/proc/{os.getpid()}/fd/{hands.disk_fd}",
    )
    slept = []
    while not hands.qemu.answered():
        time.sleep(_LOOK_S)
        if state_of(hands.main_tid) == "D":
            slept.append(time.monotonic_ns())
    hands.qemu.wait()
    end_ns = time.monotonic_ns()
    hands.qemu.execute("blockdev-del", **{"node-name": _NODE})
    if not slept:
        return []  # the disk was too fast for it to be seen
    return [("disk", slept[0], slept[-1]), ("lock", slept[-1], end_ns)]


KIND: Final = Kind(
    name="disk",
    what="QEMU's main loop reads from the host's disk; as long as that takes",
    length_ns=8 * NS_PER_MS,
    causes=frozenset({"disk"}),
    inject=_inject,
    prepare=_prepare,
)
