"""A program that does not die with us, so that it can tidy up after us.

It sees our end, whatever ends us, as the end of its standard input: the kernel closes the pipe.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from vmjitter.errors import CommandFailed


class Outliving:
    """A program in a session of its own, connected by two pipes.

    Args:
        argv: program and arguments.
        log: file that gets what it writes to its standard error; it is appended to.

    Raises:
        CommandFailed: it cannot be started.
    """

    def __init__(self, argv: Sequence[str], *, log: Path) -> None:
        try:
            with log.open("ab") as file:
                self._process = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    start_new_session=True,
                    bufsize=0,
                )
        except OSError as error:
            raise CommandFailed(f"cannot start {argv[0]}: {error.strerror}") from error
        self.pid = self._process.pid
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_line(self) -> str:
        """The next line of its standard output; empty once it has closed it."""
        out = self._process.stdout
        return out.readline().decode(errors="replace").strip() if out is not None else ""

    def write(self, data: bytes) -> bool:
        """Write to its standard input without waiting; False if it has ended."""
        if self._process.stdin is None or self._process.stdin.closed:
            return False
        try:
            os.write(self._process.stdin.fileno(), data)
        except BlockingIOError:
            return True  # it has not read for long, but it is there
        except BrokenPipeError:
            return False
        return True

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def close(self, last: bytes = b"", *, timeout_s: float = 10.0) -> None:
        """Write ``last``, close its standard input and wait for its end.  Safe to call twice."""
        if last:
            self.write(last)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
