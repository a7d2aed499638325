"""An agent without a guest: a thread that serves the command channel of a shared memory."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Self

from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory

Handler = Callable[[list[str]], tuple[int, str]]


class FakeAgent:
    """Answers commands with ``handler``; rings ``bell`` like the real one."""

    def __init__(
        self, shm: SharedMemory, bell: socket.socket, handler: Handler, *, skew_ns: int = 0
    ) -> None:
        self._shm = shm
        self._bell = bell
        self._handler = handler
        self._skew_ns = skew_ns
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._shm.control.agent_state = layout.AGENT_READY
        self._bell.sendall(b"ready\n")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        done = 0
        while not self._stop.is_set():
            seq = int(self._shm.control.cmd_seq)
            if seq == done:
                time.sleep(0.001)
                continue
            words = self._shm.read(layout.OFF_COMMAND, self._shm.control.cmd_len)
            argv = [word.decode() for word in words.split(b"\0")[:-1]]
            if argv == ["clock"]:
                self._play()
                status, text = 0, ""
            else:
                status, text = self._handler(argv)
            self._reply(seq, status, text)
            done = seq

    def _reply(self, seq: int, status: int, text: str) -> None:
        data = text.encode()
        self._shm.write(layout.OFF_REPLY, data)
        self._shm.control.rep_len = len(data)
        self._shm.control.rep_status = status
        self._shm.control.rep_seq = seq
        self._bell.sendall(f"reply {seq}\n".encode())

    def _play(self) -> None:
        cell = self._shm.clock
        self._shm.control.agent_state = layout.AGENT_CLOCK
        answered = 0
        while (wanted := int(cell.clock_req)) != layout.CLOCK_END and not self._stop.is_set():
            if wanted != answered:
                cell.guest_ns = time.monotonic_ns() + self._skew_ns
                cell.clock_ack = answered = wanted
            else:
                time.sleep(0)
        self._shm.control.agent_state = layout.AGENT_READY
