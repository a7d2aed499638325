"""A QMP server on one end of a socket pair, scripted line by line."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Self

GREETING = {
    "QMP": {
        "version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""},
        "capabilities": [],
    }
}
Answer = Callable[[Mapping[str, object]], object]


class FakeQmp:
    """Greets and answers each command with ``answer``; None means hang up."""

    def __init__(self, sock: socket.socket, answer: Answer, *, greet: bool = True) -> None:
        self._sock = sock
        self._answer = answer
        self._greet = greet
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        self._thread.join(5)

    def _serve(self) -> None:
        try:
            if self._greet:
                self._send(GREETING)
            buffer = ""
            while data := self._sock.recv(4096):
                buffer = self._answer_all(buffer + data.decode())
        except (OSError, ValueError):
            return  # the other side closed first

    def _answer_all(self, buffer: str) -> str:
        """Answer every complete message; QMP has no separator between them."""
        while buffer.strip():
            try:
                message, end = json.JSONDecoder().raw_decode(buffer.lstrip())
            except json.JSONDecodeError:
                break
            buffer = buffer.lstrip()[end:]
            reply = self._reply(message)
            if reply is None:
                self._sock.shutdown(socket.SHUT_RDWR)
                return ""
            self._send(reply)
        return buffer

    def _reply(self, message: Mapping[str, object]) -> object:
        if message["execute"] != "qmp_capabilities":
            return self._answer(message)
        return {"return": {}} | ({"id": message["id"]} if "id" in message else {})

    def _send(self, message: object) -> None:
        self._sock.sendall(json.dumps(message).encode() + b"\n")
