"""What was changed, and what was there before: on the disk before each change is made.

One JSON object per line, only ever appended.  A line that a crash cut off stands for a change
that was not made, since a change is made only after its line is on the disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from vmjitter.effects.lock import locked
from vmjitter.errors import DataError, MissingCapability

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_FILE: Final = "tuning.jsonl"
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One change.

    Attributes:
        number: counts all changes in the journal.
        owner: who changed it: process id and start, as `thread_place` writes them.
        boot: id of the boot in which it was made.
        utc: wall-clock time just before it was made.
        made_ns: the same by CLOCK_MONOTONIC of the host.
        before: the value that was there.
        found: what was read back after the change; empty if that was never reached.
        undone: how it was undone; empty if it was not.
    """

    number: int
    owner: str
    boot: str
    utc: str
    knob: str
    medium: str
    place: str
    title: str
    before: str
    wanted: str
    made_ns: int = 0
    found: str = ""
    undone: str = ""


def boot_id() -> str:
    """The id of this boot, random(4)."""
    return _BOOT_ID.read_text().strip()


def state_directory() -> Path:
    """Where the journal is: one for the machine as root, else one for the user."""
    given = os.environ.get("VMJITTER_STATE_DIR")
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/vmjitter")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "vmjitter"


class Journal:
    """The journal in a directory; it is made with the first entry."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / _FILE

    @property
    def path(self) -> Path:
        """The file."""
        return self._file

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from changing settings meanwhile.

        Raises:
            MissingCapability: the directory cannot be written to.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._directory / "tuning.lock"))
            except OSError as error:
                raise self._refused(error) from error
            yield

    def entries(self) -> tuple[Entry, ...]:
        """Every change, in the order in which they were made.

        Raises:
            DataError: a line in the middle is broken.
        """
        try:
            lines = self._file.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise self._broken(0, error) from error
        found: dict[int, Entry] = {}
        # What follows the last line's end was cut off by a crash.
        for number, line in enumerate(lines[:-1], start=1):
            try:
                self._take(json.loads(line), found)
            except (ValueError, TypeError, KeyError) as error:
                raise self._broken(number, error) from error
        return tuple(found.values())

    @staticmethod
    def _take(line: dict[str, object], found: dict[int, Entry]) -> None:
        number = line["number"]
        if not isinstance(number, int):
            raise TypeError(f"{number!r} is no number")
        if number in found:
            found[number] = replace(found[number], **line)  # type: ignore[arg-type]
        else:
            found[number] = Entry(**line)  # type: ignore[arg-type]

    def add(self, entry: Entry) -> None:
        """Write an entry; it is on the disk when this returns."""
        self._append(asdict(entry))

    def note(self, number: int, **fields: str) -> None:
        """Add to an entry, likewise."""
        self._append({"number": number, **fields})

    def clear(self) -> None:
        """Forget everything; only once everything is undone."""
        self._file.unlink(missing_ok=True)

    def _append(self, line: dict[str, object]) -> None:
        new = not self._file.exists()
        try:
            self._cut_torn_line()
            handle = os.open(self._file, _APPEND, 0o644)
        except OSError as error:
            raise self._refused(error) from error
        try:
            os.write(handle, f"{json.dumps(line, ensure_ascii=False)}\n".encode())
            os.fsync(handle)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            os.close(handle)
        if new:
            self._sync_directory()

    def _cut_torn_line(self) -> None:
        """Remove what a crash left of a line, so that the next one does not join it."""
        if not self._file.exists():
            return
        data = self._file.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(self._file, data.rfind(b"\n") + 1)

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _refused(self, error: OSError) -> MissingCapability:
        return MissingCapability(
            f"the journal of changes in {self._directory} cannot be written: {error.strerror}; "
            "so nothing was changed",
            hint="run as root, or name another directory in VMJITTER_STATE_DIR",
        )

    def _broken(self, number: int, error: Exception) -> DataError:
        return DataError(
            f"{self._file}, line {number}: {error}",
            hint="the file says in plain words what was changed and what was there before: put "
            "these values back by hand, then remove it",
        )


class Unwritten(Journal):
    """A journal in memory, for changes that end with the guest or with QEMU anyway."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._lines: list[dict[str, object]] = []

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else knows of these changes."""
        yield

    def entries(self) -> tuple[Entry, ...]:
        """See `Journal.entries`."""
        found: dict[int, Entry] = {}
        for line in self._lines:
            self._take(line, found)
        return tuple(found.values())

    def clear(self) -> None:
        """See `Journal.clear`."""
        self._lines.clear()

    def _append(self, line: dict[str, object]) -> None:
        self._lines.append(line)
