"""QMP, one command at a time, over a socket that we made and QEMU inherited.

`qemu.qmp` is asynchronous; a trial is a sequence of waits on descriptors, so this client runs the
event loop only while a command is under way.  Nothing of ours runs on the host in between.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Mapping
from typing import Self, TypeVar

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from vmjitter.errors import CommandFailed, QemuDied

T = TypeVar("T")
Reply = Mapping[str, object] | list[dict[str, object]]


class Qmp:
    """A connected QMP session.

    Args:
        sock: our end of a socket pair; owned by this object from now on.
        timeout_s: longest wait for the greeting and for any reply.
    """

    def __init__(self, sock: socket.socket, *, timeout_s: float = 60.0) -> None:
        self._sock = sock
        self._timeout_s = timeout_s
        self._loop = asyncio.new_event_loop()
        self._client = QMPClient("vmjitter")
        self._events = EventListener()
        self._client.register_listener(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Wait for QEMU's greeting and negotiate.

        Raises:
            QemuDied: QEMU closed the connection or did not answer in time.
        """
        self._sock.settimeout(0)
        self._run(self._client.connect(self._sock), "the greeting")

    def execute(self, command: str, **arguments: object) -> object:
        """Run a QMP command and return what it returns.

        Raises:
            CommandFailed: QEMU refused the command.
            QemuDied: the connection broke or the reply did not come in time.
        """
        try:
            return self._run(self._client.execute(command, arguments or None), command)
        except ExecuteError as error:
            raise CommandFailed(f"QMP command {command} refused: {error}") from error

    def events(self) -> list[Mapping[str, object]]:
        """The events that arrived since the last call, oldest first."""
        if not self._loop.is_closed():
            self._loop.run_until_complete(asyncio.sleep(0))
        return [dict(message) for message in self._events.clear()]

    def close(self) -> None:
        """Disconnect; safe to call twice and after QEMU's death."""
        if self._loop.is_closed():
            return
        try:
            self._loop.run_until_complete(
                asyncio.wait_for(self._client.disconnect(), self._timeout_s)
            )
        except (QMPError, OSError, EOFError, TimeoutError):
            pass  # QEMU is gone already; there is nothing to say goodbye to
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._sock.close()

    def _run(self, what: Coroutine[object, object, T], name: str) -> T:
        try:
            return self._loop.run_until_complete(asyncio.wait_for(what, self._timeout_s))
        except ExecuteError:
            raise
        except TimeoutError as error:
            raise QemuDied(
                f"QEMU did not answer on QMP within {self._timeout_s:g} s ({name})"
            ) from error
        except (QMPError, OSError, EOFError) as error:
            raise QemuDied(f"the QMP connection to QEMU broke ({name}): {error}") from error
