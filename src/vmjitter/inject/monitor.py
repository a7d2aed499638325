"""A monitor of QEMU for the injecting program alone.

The measurement talks to QEMU through `vmjitter.qmp`; this is a few lines on a socket instead,
because a command is to be sent and waited for at chosen times, and because the library that the
other uses would be loaded and run beside the guest.  Messages: QEMU's docs/interop/qmp-spec.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from vmjitter.errors import CommandFailed


class Monitor:
    """A QMP session over a connected socket.

    Args:
        sock: owned by this object from now on; QEMU has the other end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""
        self._message()  # the greeting
        self.execute("qmp_capabilities")

    def send(self, command: str, **arguments: object) -> None:
        """Send a command, without waiting for its end."""
        message = {"execute": command, "arguments": arguments}
        self._sock.sendall(json.dumps(message).encode() + b"\n")

    def wait(self) -> Any:  # noqa: ANN401 - whatever the command returns
        """Wait for the end of the last command.

        Raises:
            CommandFailed: QEMU refused it, or is gone.
        """
        while "event" in (message := self._message()):
            pass
        if "error" in message:
            raise CommandFailed(f"QEMU refused a command: {message['error'].get('desc')}")
        return message.get("return")

    def execute(self, command: str, **arguments: object) -> Any:  # noqa: ANN401
        """Both."""
        self.send(command, **arguments)
        return self.wait()

    def answered(self) -> bool:
        """Whether there is anything to read; never waits."""
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False

    def _message(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            self._rest += self._receive()
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _receive(self) -> bytes:
        try:
            data = self._sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise CommandFailed("QEMU has closed the monitor for disturbances")
        return data
