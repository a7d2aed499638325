"""The user's terminal, connected to a console elsewhere."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ESCAPE: Final = b"\x1d"
"""Ctrl-], as in telnet: ends the connection, since Ctrl-C goes to the console."""

_WAIT_S: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Console:
    """A pseudo-terminal between the user and a console.

    Attributes:
        device: for whoever has the console.
        size: rows and columns of the user's terminal.
    """

    device: Path
    size: tuple[int, int]
    master_fd: int

    def pump(self) -> bool:
        """Move what is typed and shown; wait up to a tenth of a second for some.

        Returns:
            Whether anything was shown.

        Raises:
            KeyboardInterrupt: the user typed `ESCAPE`.
        """
        readable, _, _ = select.select([self.master_fd, sys.stdin.fileno()], [], [], _WAIT_S)
        if self.master_fd in readable:
            _write(sys.stdout.fileno(), _read(self.master_fd))
        if sys.stdin.fileno() in readable:
            typed = _read(sys.stdin.fileno())
            if ESCAPE in typed:
                raise KeyboardInterrupt
            _write(self.master_fd, typed)
        return self.master_fd in readable


@contextmanager
def raw_console() -> Iterator[Console]:
    """Give every key of the user's terminal to a console; the terminal's settings come back."""
    master_fd, slave_fd = pty.openpty()
    tty.setraw(slave_fd)
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
    columns, rows = os.get_terminal_size() if os.isatty(sys.stdout.fileno()) else (80, 24)
    try:
        if before is not None:
            tty.setraw(keyboard)
        device = Path(os.ttyname(slave_fd))
        yield Console(device=device, size=(rows, columns), master_fd=master_fd)
    finally:
        if before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        os.close(slave_fd)
        os.close(master_fd)


def _read(source: int) -> bytes:
    try:
        return os.read(source, 4096)
    except OSError:
        return b""  # the other end is gone


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
