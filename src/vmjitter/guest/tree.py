"""Programs from Debian packages, run from the cache without being installed.

A tree holds a set of packages with everything that they depend on, down to the C library, unpacked
below one directory.  Its programs run through its own dynamic loader, so they are the same on every
machine and need neither root nor the host's packages (ld.so(8), "--library-path").
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from vmjitter.effects import process
from vmjitter.effects.lock import locked
from vmjitter.errors import CommandFailed
from vmjitter.guest.apt import SUITE, PrivateApt
from vmjitter.guest.cache import cache_root, publish_directory

_RECORD: Final = "packages.json"
_MULTIARCH: Final = "x86_64-linux-gnu"
_LIBRARIES: Final = (f"usr/lib/{_MULTIARCH}", f"lib/{_MULTIARCH}")
_LOADER: Final = "ld-linux-x86-64.so.2"
# what no program of ours reads; a third of the size
_LEFT_OUT: Final = ("doc", "man", "info", "locale", "icons", "fonts", "lintian", "bug", "X11")


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Unpacked packages.

    Attributes:
        root: directory that stands for ``/``.
        packages: version of each package in it.
    """

    root: Path
    packages: dict[str, str]

    @cached_property
    def library_path(self) -> str:
        """Directories for ``--library-path``, also those that single packages make."""
        places = [self.root / place for place in _LIBRARIES if (self.root / place).is_dir()]
        inner = [self.root / _LIBRARIES[0] / name for name in ("pulseaudio", "blas", "lapack")]
        return ":".join(str(place) for place in (*places, *inner) if place.is_dir())

    @property
    def loader(self) -> Path:
        """The tree's dynamic loader.

        Raises:
            CommandFailed: the tree has none.
        """
        for place in _LIBRARIES:
            if (path := self.root / place / _LOADER).exists():
                return path
        raise CommandFailed(f"{self.root} has no {_LOADER}", hint="vmjitter sim build --refresh")

    def argv(self, program: str, *, preload: Sequence[str] = ()) -> list[str]:
        """The beginning of a command line that runs a program of the tree.

        Args:
            program: path below `root`, e.g. ``"usr/bin/python3.11"``.
            preload: libraries to load before its own.
        """
        options = ["--library-path", self.library_path]
        if preload:
            options += ["--preload", ":".join(preload)]
        return [str(self.loader), *options, str(self.root / program)]

    def libraries(self, program: str) -> dict[str, Path]:
        """The shared libraries that a program or library needs, by the name it asks for.

        Raises:
            CommandFailed: one is missing.
        """
        listed = [str(self.loader), "--library-path", self.library_path, "--list"]
        done = process.check([*listed, str(self.root / program)])
        found = {}
        for line in done.stdout.splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            if arrow and _LOADER not in name:
                found[name] = Path(rest.split(" (")[0])
        return found


def fetch_tree(
    packages: Sequence[str], *, suite: str = SUITE, cache: Path | None = None, refresh: bool = False
) -> Tree:
    """Return a tree of amd64 packages; it is downloaded when the cache does not have it.

    Args:
        packages: names of packages; what they depend on is added by apt.
        suite: Debian release that they come from.
        cache: cache directory; `cache_root` if None.
        refresh: fetch it again even if the cache has it.

    Raises:
        MissingCapability: no apt, no Debian keyring, or no Debian mirror configured here.
        CommandFailed: apt could not download or verify a package.
    """
    root = cache or cache_root()
    place = _place(packages, suite, root)
    with locked(root / "apt" / ".lock"):
        if not refresh and (known := _read(place)) is not None:
            return known
        apt = PrivateApt(root, "x86_64", suite)
        apt.update()
        with publish_directory(place) as directory:
            _unpack(apt, sorted(packages), directory)
        apt.forget_downloads()
    tree = _read(place)
    if tree is None:
        raise CommandFailed(f"{place} could not be read back", hint="check the disk and try again")
    return tree


def find_tree(
    packages: Sequence[str], *, suite: str = SUITE, cache: Path | None = None
) -> Tree | None:
    """The tree that `fetch_tree` would return without fetching anything, or None."""
    return _read(_place(packages, suite, cache or cache_root()))


def _place(packages: Sequence[str], suite: str, cache: Path) -> Path:
    key = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    return cache / "trees" / f"{suite}-{key}"


def _unpack(apt: PrivateApt, packages: Sequence[str], directory: Path) -> None:
    root = directory / "root"
    root.mkdir()
    versions = {}
    for archive in apt.download_with_needs(packages):
        name, version, _ = archive.name.split("_")
        versions[name] = version.replace("%3a", ":")
        apt.unpack(archive, root)
    for name in _LEFT_OUT:
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    (directory / _RECORD).write_text(json.dumps(versions, indent=1, sort_keys=True))


def _read(place: Path) -> Tree | None:
    try:
        versions = json.loads((place / _RECORD).read_text())
    except (OSError, ValueError):
        return None
    return Tree(root=place / "root", packages=versions)
