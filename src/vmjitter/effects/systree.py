"""The trees under /sys and /proc, below a root that tests can replace."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SysTree:
    """The files of the system as seen from ``root``."""

    root: Path = Path("/")

    def read(self, path: str) -> str | None:
        """The stripped text of a file, or None if it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace").strip()
        except OSError:
            return None

    def write(self, path: str, text: str) -> None:
        """Set a value in a single system call, as the kernel wants it.

        Raises:
            OSError: it does not exist, we may not, or the kernel refuses the value.
        """
        handle = os.open(self.root / path.lstrip("/"), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)

    def exists(self, path: str) -> bool:
        """Whether the path exists."""
        return (self.root / path.lstrip("/")).exists()

    def usable(self, path: str) -> bool:
        """Whether the file exists and we may read and write it."""
        return os.access(self.root / path.lstrip("/"), os.R_OK | os.W_OK)

    def match(self, pattern: str) -> tuple[str, ...]:
        """Sorted paths of what exists and matches; a star stands for any part of a name."""
        found = self.root.glob(pattern.lstrip("/"))
        return tuple(sorted(f"/{path.relative_to(self.root)}" for path in found))

    def names(self, path: str) -> tuple[str, ...]:
        """Sorted names in a directory; empty if it does not exist."""
        try:
            return tuple(sorted(entry.name for entry in (self.root / path.lstrip("/")).iterdir()))
        except OSError:
            return ()
