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
            with self._sock.makefile("rw") as stream:
                if self._greet:
                    print(json.dumps(GREETING), file=stream, flush=True)
                for line in stream:
                    message = json.loads(line)
                    if message["execute"] == "qmp_capabilities":
                        reply: object = {"return": {}}  # negotiation carries no id
                    else:
                        reply = self._answer(message)
                    if reply is None:
                        self._sock.shutdown(socket.SHUT_RDWR)
                        return
                    print(json.dumps(reply), file=stream, flush=True)
        except (OSError, ValueError):
            return  # the other side closed first
