"""QEMU's own trace events, which it writes to a log (qemu(1), ``-D`` and ``-msg timestamp=on``).

They are switched by QMP ``trace-event-set-state`` right before and after the measured phase.  Every
lock and every access to a device costs a line, written by the thread that it is about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vmjitter.effects.process import check, find_program
from vmjitter.errors import CommandFailed
from vmjitter.qmp.client import Qmp
from vmjitter.tracing.events import QEMU_EVENTS, choose
from vmjitter.tracing.record import TraceRecord

LIVE_LOG: Final = ".qemu-trace.log"
"""Where QEMU writes: hidden, so that it does not leave a simulated host before it is compressed."""

_EXPANSION: Final = 8
"""So much longer than compressed may the log become: it is about 15 times in practice."""
_COMPRESS_S: Final = 3600.0


class QemuEvents:
    """The events of one QEMU.

    Args:
        log: what it was given with ``-D``.
        keep_bytes: the most that is to be stored, compressed.
        record: gets names and notes.
    """

    def __init__(self, qmp: Qmp, log: Path, keep_bytes: int, record: TraceRecord) -> None:
        self._qmp = qmp
        self._log = log
        self._most = keep_bytes * _EXPANSION
        self._record = record
        self._on = False
        try:
            states = qmp.execute("trace-event-get-state", name="*")
        except CommandFailed as error:
            states = []
            record.notes.append(f"no trace events of QEMU: {error.message}")
        known = [
            str(one["name"])
            for one in (states if isinstance(states, list) else [])
            if one.get("state") != "unavailable"
        ]
        record.qemu_events, record.qemu_missing = choose(QEMU_EVENTS, known)

    def on(self) -> None:
        """Write from now on."""
        self._set(enable=True)

    def off(self) -> None:
        """Write no more."""
        self._set(enable=False)

    def look(self) -> None:
        """Switch them off if the log has become too long."""
        if self._on and self._log.exists() and self._log.stat().st_size > self._most:
            with self._record.action("switch off QEMU's trace events"):
                self.off()
            self._record.notes.append(
                "QEMU's log is full (trace.keep): its later events are missing"
            )

    def _set(self, *, enable: bool) -> None:
        if self._on is enable:
            return
        self._on = enable
        try:
            for name in self._record.qemu_events:
                self._qmp.execute("trace-event-set-state", name=name, enable=enable)
        except CommandFailed as error:
            self._record.notes.append(f"QEMU's trace events: {error.message}")


def store_log(log: Path, target: Path) -> None:
    """Compress QEMU's log into its place; nothing happens if there is none.

    Raises:
        CommandFailed: it could not be compressed; the log stays.
    """
    if not log.exists():
        return
    gzip = find_program("gzip", hint="install gzip")
    check(
        ["sh", "-c", 'exec "$0" -1 -c "$1" >"$2"', gzip, str(log), str(target)],
        timeout_s=_COMPRESS_S,
    )
    log.unlink()
