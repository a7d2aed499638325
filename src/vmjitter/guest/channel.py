"""Commands to the agent in the guest, through shared memory and a bell.

The command and its reply are in shared memory; the bell, a serial port, tells us that a reply is
there, so that waiting is waiting on descriptors.  While the agent runs a command it does not
look at the memory, so a guest that is being measured does nothing on our behalf.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vmjitter.effects.clock import now_ns
from vmjitter.errors import GuestCommandFailed, GuestHang
from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory
from vmjitter.units import NS_PER_S

_POLL_S: Final = 0.05
"""Longest wait between two looks at the reply word, in case a bell is lost."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Exit status and the end of the output of a command in the guest."""

    status: int
    text: str


class GuestAgent:
    """The agent behind the shared memory.

    Args:
        shm: the memory.
        bell: our end of the guest's second serial port.
        check_alive: raises when the guest is gone; called after each wait.
    """

    def __init__(
        self, shm: SharedMemory, bell: socket.socket, check_alive: Callable[[], None]
    ) -> None:
        self._shm = shm
        self._bell = bell
        self._check_alive = check_alive
        self._seq = 0
        bell.settimeout(0)

    def fileno(self) -> int:
        """The bell's descriptor, readable when the agent has something to say."""
        return self._bell.fileno()

    @property
    def ready(self) -> bool:
        """Whether the agent has come up."""
        return int(self._shm.control.agent_state) != layout.AGENT_ABSENT

    def hush(self) -> None:
        """Take what the bell has rung, so that the next ring is noticed."""
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass

    def start(self, verb: str, *arguments: str) -> None:
        """Send a command without waiting for its end.

        Raises:
            GuestCommandFailed: the command is longer than the memory has room for.
        """
        words = b"".join(word.encode() + b"\0" for word in (verb, *arguments))
        if len(words) > layout.COMMAND_CAP:
            raise GuestCommandFailed(f"command for the guest is too long: {verb} ...")
        self._shm.write(layout.OFF_COMMAND, words)
        self._shm.control.cmd_len = len(words)
        self._seq += 1
        self._shm.control.cmd_seq = self._seq

    @property
    def finished(self) -> bool:
        """Whether the last command has its reply."""
        return int(self._shm.control.rep_seq) == self._seq

    def reply(self) -> Reply:
        """The reply to the last command; only once it is `finished`."""
        control = self._shm.control
        text = self._shm.read(layout.OFF_REPLY, control.rep_len).decode(errors="replace")
        return Reply(status=int(control.rep_status), text=text)

    def wait(self, timeout_s: float) -> Reply:
        """Wait for the reply to the last command.

        Raises:
            GuestHang: none came in time.
            GuestLost: ``check_alive`` found the guest gone.
        """
        end_ns = now_ns() + round(timeout_s * NS_PER_S)
        while not self.finished:
            self.pause(_POLL_S)
            if now_ns() > end_ns:
                raise GuestHang(f"the guest did not answer within {timeout_s:g} s")
        return self.reply()

    def pause(self, seconds: float) -> None:
        """Wait for the bell, at most so long, and check that the guest is alive."""
        select.select([self._bell], [], [], seconds)
        self.hush()
        self._check_alive()

    def call(self, verb: str, *arguments: str, timeout_s: float = 20.0) -> Reply:
        """Send a command and wait for its reply."""
        self.start(verb, *arguments)
        return self.wait(timeout_s)

    def check(self, argv: Sequence[str], timeout_s: float = 20.0) -> str:
        """Run a program in the guest and return its output.

        Raises:
            GuestCommandFailed: it ended with a failure; carries its output.
        """
        reply = self.call("run", *argv, timeout_s=timeout_s)
        if reply.status != 0:
            raise GuestCommandFailed(
                f"in the guest, {' '.join(argv)} ended with status {reply.status}",
                evidence=reply.text.strip(),
            )
        return reply.text
