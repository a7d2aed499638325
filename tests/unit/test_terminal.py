"""The user's terminal at a console elsewhere; both are pseudo-terminals."""

from __future__ import annotations

import os
import pty
import select
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from vmjitter.effects import terminal
from vmjitter.effects.terminal import ESCAPE, Console, raw_console


class User:
    """Somebody at a terminal of 30 rows and 100 columns."""

    def __init__(self) -> None:
        self.hands, self.terminal = pty.openpty()
        termios.tcsetwinsize(self.terminal, (30, 100))

    def types(self, data: bytes) -> None:
        os.write(self.hands, data)

    def sees(self) -> bytes:
        return os.read(self.hands, 4096) if select.select([self.hands], [], [], 5)[0] else b""

    @contextmanager
    def console(self) -> Iterator[Console]:
        """A console for this user, who has our standard output for a while."""
        kept = os.dup(1)
        os.dup2(self.terminal, 1)
        try:
            with raw_console() as console:
                yield console
        finally:
            os.dup2(kept, 1)
            os.close(kept)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    made = User()
    keyboard = SimpleNamespace(fileno=lambda: made.terminal)
    streams = SimpleNamespace(stdin=keyboard, stdout=SimpleNamespace(fileno=lambda: 1))
    monkeypatch.setattr(terminal, "sys", streams)
    yield made
    os.close(made.hands)
    os.close(made.terminal)


def _pump_until(console: Console, descriptor: int) -> bytes:
    for _ in range(50):
        console.pump()
        if select.select([descriptor], [], [], 0)[0]:
            return os.read(descriptor, 4096)
    return b""


def test_what_is_typed_goes_to_the_console_byte_for_byte(user: User) -> None:
    with user.console() as console:
        other = os.open(console.device, os.O_RDWR | os.O_NOCTTY)
        user.types(b"ls\r\x03\x1a")  # Ctrl-C and Ctrl-Z are the console's
        assert _pump_until(console, other) == b"ls\r\x03\x1a"
        os.close(other)


def test_what_the_console_shows_is_seen_byte_for_byte(user: User) -> None:
    with user.console() as console:
        other = os.open(console.device, os.O_RDWR | os.O_NOCTTY)
        os.write(other, b"hello\n\x1b[1m")
        assert console.pump()
        assert user.sees() == b"hello\n\x1b[1m"
        os.close(other)


def test_the_consoles_size_is_the_users(user: User) -> None:
    with user.console() as console:
        assert console.size == (30, 100)


@pytest.mark.parametrize("typed", [ESCAPE, b"ls" + ESCAPE])
def test_the_escape_ends_it_and_the_terminal_is_as_before(user: User, typed: bytes) -> None:
    before = termios.tcgetattr(user.terminal)
    with pytest.raises(KeyboardInterrupt), user.console() as console:  # noqa: PT012
        assert not termios.tcgetattr(user.terminal)[3] & (termios.ICANON | termios.ISIG)
        user.types(typed)
        for _ in range(50):
            console.pump()
    assert termios.tcgetattr(user.terminal) == before


def test_nothing_is_left_open(user: User) -> None:
    before = _descriptors()
    with user.console():
        assert _descriptors() > before
    assert _descriptors() == before


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_wait_without_anything_is_short(user: User) -> None:
    with user.console() as console:
        began = time.monotonic()
        assert not console.pump()
        assert time.monotonic() - began < 5
