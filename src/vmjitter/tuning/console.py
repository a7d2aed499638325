"""The guest's console: the words of its kernel's command line that go with each kind.  Pure.

The last ``console=`` is what ``/dev/console`` is (Documentation/admin-guide/serial-console.rst).
``tty0`` stands before it so that there always is one: without any, process 1 starts without
standard output, and its first files would be taken for it.  No machine here has a display; the
kernel takes the memory in its place for one (``*CGA``), and a message costs the few exits that move
its cursor (``vgacon_cursor`` in drivers/video/console/vgacon.c): 4 without a visible cursor, else
20, whatever its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from vmjitter.qemu.cmdline import Console, Machine

_NO_CURSOR: Final = "vt.global_cursor_default=0"
_WORDS: Final[Mapping[Console, tuple[str, ...]]] = MappingProxyType(
    {
        Console.SERIAL: ("console=ttyS0",),
        # the early console writes until hvc0 is there: register_console in kernel/printk/printk.c
        # takes boot consoles away when the last console= registers
        Console.VIRTIO: ("console=tty0", "console=hvc0", "earlyprintk=serial,ttyS0", _NO_CURSOR),
        # no message reaches a console at this level but those of a panic (kernel/printk/printk.c)
        Console.NONE: ("console=tty0", "loglevel=0", _NO_CURSOR),
    }
)


def with_console(machine: Machine, kind: Console) -> Machine:
    """The virtual machine with another console, on both sides; words for others are taken away.

    Every other word stays, also a ``loglevel=`` of the user's own; the last one counts.
    """
    ours = {word for words in _WORDS.values() for word in words}
    others = [
        word
        for word in machine.append.split()
        if not word.startswith("console=") and word not in ours
    ]
    # behind "quiet": the kernel reads from left to right, and earlyprintk writes at once
    return replace(machine, console=kind, append=" ".join((*others, *_WORDS[kind])))
