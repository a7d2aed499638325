"""A writer of journals and places that is killed at a chosen step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vmjitter.tuning.change import Medium
from vmjitter.tuning.journal import Journal


class Killed(BaseException):
    """SIGKILL: nothing after it runs."""


@dataclass
class Fuse:
    """Kills at a step; never if it begins below 1."""

    left: int

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class Fragile(Journal):
    """A journal whose writer may be killed before, within and after a line."""

    def __init__(self, directory: Path, fuse: Fuse) -> None:
        super().__init__(directory)
        self._fuse = fuse

    def _append(self, line: dict[str, object]) -> None:
        self._fuse.step()
        if self._fuse.left == 1:
            with self.path.open("a") as file:
                file.write('{"number": 7, "plac')
        self._fuse.step()
        super()._append(line)
        self._fuse.step()


class FragileMedium:
    """A real medium whose writer may be killed before and after each write."""

    def __init__(self, medium: Medium, fuse: Fuse) -> None:
        self._medium = medium
        self._fuse = fuse
        self.name = medium.name
        self.lasting = medium.lasting

    def read(self, place: str) -> str | None:
        return self._medium.read(place)

    def write(self, place: str, value: str) -> None:
        self._fuse.step()
        self._medium.write(place, value)
        self._fuse.step()

    def same(self, one: str, other: str) -> bool:
        return self._medium.same(one, other)
