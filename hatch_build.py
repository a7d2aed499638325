"""Compiles the native programs into ``src/vmjitter/_native/`` when the package is built.

``python hatch_build.py`` does the same outside a package build.  Why the compiler is ziglang:
docs/decisions/0001-native-build.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROGRAMS = ("probe", "load", "agent")
TARGETS = {
    # i686: the oldest processor with the TSC and no SSE, so every 32-bit guest runs it.
    "i386": ("-target", "x86-linux-musl", "-mcpu=i686", "-static"),
    "x86_64": ("-target", "x86_64-linux-musl", "-static"),
    # for Debian's Bochs, which is preloaded with it
    "x86_64.so": ("-target", "x86_64-linux-gnu.2.36", "-shared", "-fPIC"),
}
LIBRARIES = ("bochs",)
FLAGS = (
    "-std=c11",
    "-O2",
    "-s",
    "-D_GNU_SOURCE",
    "-D_FILE_OFFSET_BITS=64",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wvla",
    "-Wpointer-arith",
)
STAMP = "build.json"


class Binary(NamedTuple):
    """One program for one architecture.

    Not a dataclass: hatchling runs this file without entering it in ``sys.modules``, which
    dataclasses need to resolve annotations.
    """

    root: Path
    program: str
    arch: str

    @property
    def name(self) -> str:
        """File name, such as ``probe-i386``."""
        return f"{self.program}-{self.arch}"

    @property
    def path(self) -> Path:
        """Where the binary goes."""
        return self.root / "src" / "vmjitter" / "_native" / self.name

    def sources(self, pattern: str) -> list[Path]:
        """Files that it is made of, in a fixed order."""
        native = self.root / "native"
        shared = () if self.program in LIBRARIES else (native / "include", native / "common")
        folders = (*shared, native / self.program)
        return [path for folder in folders for path in sorted(folder.glob(pattern))]

    def command(self, output: Path) -> list[str]:
        """The compiler's command line, without the compiler."""
        native = self.root / "native"
        return [
            *TARGETS[self.arch],
            *FLAGS,
            f'-DVMJ_VERSION="{_package_version(self.root)}"',
            f"-I{native / 'include'}",
            f"-I{native / 'common'}",
            *map(str, self.sources("*.c")),
            "-o",
            str(output),
        ]

    def digest(self) -> str:
        """Hash of everything that decides what the binary will be."""
        hashed = hashlib.sha256(installed_version("ziglang").encode())
        hashed.update("\0".join(self.command(Path())).encode())
        for path in self.sources("*.[ch]"):
            hashed.update(path.name.encode() + b"\0" + path.read_bytes())
        return hashed.hexdigest()

    def build(self) -> None:
        """Compile; the old binary stays in place until the new one is complete.

        Raises:
            RuntimeError: the compiler failed; the message has its output.
        """
        new = self.path.with_name(f".{self.name}.{os.getpid()}")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "ziglang", "cc", *self.command(new)],
                capture_output=True,
                text=True,
                check=False,
                env=_environment(self.root),
            )
            if done.returncode != 0:
                raise RuntimeError(f"compiling {self.name} failed:\n{done.stderr}{done.stdout}")
            new.replace(self.path)
        finally:
            new.unlink(missing_ok=True)


def _package_version(root: Path) -> str:
    text = (root / "src" / "vmjitter" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__(?:: \w+)? = "([^"]+)"', text, re.MULTILINE)
    return found.group(1) if found else "unknown"


def _environment(root: Path) -> dict[str, str]:
    """The environment, with a cache directory for the compiler if its default is unwritable."""
    environment = dict(os.environ)
    home = environment.get("XDG_CACHE_HOME") or environment.get("HOME") or ""
    if not (home and os.access(home, os.W_OK)):
        environment.setdefault("ZIG_GLOBAL_CACHE_DIR", str(root / "build" / "zig-cache"))
    return environment


def _read_stamp(path: Path) -> dict[str, str]:
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def build_native(root: Path) -> list[str]:
    """Compile every binary whose sources or flags have changed.

    Args:
        root: the repository.

    Returns:
        Names of the binaries that were compiled.

    Raises:
        RuntimeError: a compilation failed.
    """
    programs = [(p, a) for a in TARGETS for p in PROGRAMS if not a.endswith(".so")]
    libraries = [(p, a) for a in TARGETS for p in LIBRARIES if a.endswith(".so")]
    binaries = [Binary(root=root, program=p, arch=a) for p, a in (*programs, *libraries)]
    folder = binaries[0].path.parent
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {binary.name: binary.digest() for binary in binaries}
    built = _read_stamp(folder / STAMP)
    stale = [b for b in binaries if built.get(b.name) != wanted[b.name] or not b.path.exists()]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(Binary.build, stale))
    if stale:
        (folder / STAMP).write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    return [binary.name for binary in stale]


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's entry: runs before a wheel or an editable install is put together."""

    PLUGIN_NAME = "custom"

    # typing.override exists from Python 3.12 on.
    def initialize(
        self,
        version: str,  # noqa: ARG002
        build_data: dict[str, Any],  # noqa: ARG002
    ) -> None:
        """Compile; a source distribution carries the sources instead."""
        if self.target_name == "wheel":
            build_native(Path(self.root))


def main() -> int:
    """Compile and say what was done."""
    compiled = build_native(Path(__file__).resolve().parent)
    print("compiled: " + (", ".join(compiled) or "nothing, all is up to date"))  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
