"""Build the guest's initramfs: agent, busybox, probe, load and the modules it needs.

The archive is left uncompressed (see docs/decisions/0002-guest-kernels.md for the measurement).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import vmjitter
from vmjitter.effects.lock import locked
from vmjitter.errors import MissingCapability, UsageError
from vmjitter.guest import cpio
from vmjitter.guest.apt import Arch, busybox
from vmjitter.guest.cache import publish_file
from vmjitter.guest.kernels import KernelFiles
from vmjitter.guest.modules import DEVICE_MODULES, ModuleFile, resolve_modules, without_signature

INIT: Final = "init"
BUSYBOX: Final = "bin/busybox"
MODULE_LIST: Final = "etc/modules"
"""Paths of the modules in the guest, one per line, in load order."""

APPLETS: Final = (
    "ash",
    "awk",
    "basename",
    "cat",
    "chmod",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "dmesg",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "grep",
    "head",
    "hostname",
    "id",
    "ifconfig",
    "ip",
    "kill",
    "killall",
    "ln",
    "ls",
    "lsmod",
    "mkdir",
    "mknod",
    "mount",
    "mv",
    "nc",
    "nproc",
    "od",
    "pidof",
    "ping",
    "poweroff",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "reboot",
    "renice",
    "rm",
    "rmdir",
    "route",
    "sed",
    "seq",
    "sh",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sync",
    "sysctl",
    "tail",
    "taskset",
    "tee",
    "test",
    "time",
    "timeout",
    "top",
    "touch",
    "tr",
    "true",
    "umount",
    "uname",
    "uniq",
    "uptime",
    "usleep",
    "vi",
    "wc",
    "which",
    "xargs",
)
"""What busybox is linked as in the guest's ``/bin``."""

_NATIVE: Final = ("agent", "probe", "load")
_MOUNT_POINTS: Final = ("dev", "mnt", "proc", "run", "sys", "tmp")
# part of the cache key; counted up when the same inputs shall give another archive
_PT_INTERP: Final = 3
_FORMAT: Final = 2


@dataclass(frozen=True, kw_only=True)
class GuestImage:
    """What QEMU needs to start a guest.

    Args:
        kernel: the kernel.
        initramfs: the archive for ``-initrd``.
        sha256: of the archive.
        modules: names of the modules that the agent loads, in load order.
    """

    kernel: KernelFiles
    initramfs: Path
    sha256: str
    modules: tuple[str, ...]


def modules_for(devices: Iterable[str]) -> tuple[str, ...]:
    """The modules for a set of devices, each once.

    Args:
        devices: keys of `DEVICE_MODULES`.

    Raises:
        UsageError: an unknown key.
    """
    names: dict[str, None] = {}
    for device in devices:
        if device not in DEVICE_MODULES:
            raise UsageError(
                f"no modules are known for {device!r}", hint=f"known: {', '.join(DEVICE_MODULES)}"
            )
        names.update(dict.fromkeys(DEVICE_MODULES[device]))
    return tuple(names)


def native_program(name: str, arch: str) -> Path:
    """Return one of our static programs, ``agent``, ``probe`` or ``load``.

    Raises:
        MissingCapability: it was not built.
    """
    path = Path(vmjitter.__file__).parent / "_native" / f"{name}-{arch}"
    if not path.is_file():
        raise MissingCapability(
            f"the native program {path.name} was not built",
            hint="install the vmjitter package again, or run `python hatch_build.py` in its source",
        )
    return path


def guest_programs(
    arch: Arch, *, cache: Path | None = None, refresh: bool = False, own_busybox: Path | None = None
) -> dict[str, Path]:
    """The programs of every guest, as `build_image` takes them.

    Args:
        arch: architecture of the guest.
        cache: cache directory; `cache_root` if None.
        refresh: look for a newer busybox even if the cache has one.
        own_busybox: a static busybox to take instead of Debian's.

    Raises:
        MissingCapability: a native program was not built, or there is no static busybox.
        CommandFailed: busybox could not be downloaded.
    """
    programs = {f"bin/{name}": native_program(name, arch) for name in _NATIVE if name != "agent"}
    programs[INIT] = native_program("agent", arch)
    programs[BUSYBOX] = own_busybox or _find_busybox(arch, cache, refresh=refresh)
    return programs


def _find_busybox(arch: Arch, cache: Path | None, *, refresh: bool) -> Path:
    """Debian's busybox; without apt the host's own, if it can run in the guest."""
    try:
        return busybox(arch, cache=cache, refresh=refresh)
    except MissingCapability as error:
        own = shutil.which("busybox")
        if own is not None and is_static_program(Path(own).read_bytes(), arch):
            return Path(own)
        raise MissingCapability(
            f"no static busybox for {arch} guests: {error.message}",
            hint="name one with --set guest.busybox=FILE",
        ) from error


def is_static_program(data: bytes, arch: Arch) -> bool:
    """Whether an ELF file is a statically linked program for ``arch``.

    That is: of the right class and machine, and without a PT_INTERP segment (System V ABI,
    "Program header").
    """
    bits = {"i386": 1, "x86_64": 2}[arch]
    if len(data) < 64 or data[:5] != b"\x7fELF" + bytes([bits]):
        return False
    machine = int.from_bytes(data[18:20], "little")
    if machine != {"i386": 3, "x86_64": 62}[arch]:
        return False
    offset_at, size_at, width = (28, 42, 4) if arch == "i386" else (32, 54, 8)
    offset = int.from_bytes(data[offset_at : offset_at + width], "little")
    size, count = (int.from_bytes(data[at : at + 2], "little") for at in (size_at, size_at + 2))
    headers = (data[offset + n * size : offset + n * size + 4] for n in range(count))
    return all(int.from_bytes(header, "little") != _PT_INTERP for header in headers)


def build_image(
    kernel: KernelFiles,
    *,
    modules: Sequence[str],
    programs: Mapping[str, Path],
    cache: Path,
) -> GuestImage:
    """Return an image; it is built when the cache does not have it.

    The same kernel, modules and programs give the same bytes.

    Args:
        kernel: the kernel it is for.
        modules: modules the guest shall load; what they need is added.
        programs: files on this machine by path in the guest, e.g. ``{"init": agent}``.  With
            ``bin/busybox`` come the links of its applets.
        cache: cache directory.

    Raises:
        UsageError: the kernel has no such module.
        MissingCapability: a program is missing.
        DataError: a module cannot be read.
    """
    content = {name: _read_program(path) for name, path in programs.items()}
    key = _key(kernel, modules, content)
    path = cache / "images" / f"{kernel.name}-{key[:16]}.cpio"
    record = path.with_suffix(".json")
    with locked(cache / "images" / ".lock"):
        known = _read_record(record, kernel, path)
        if known:
            return known
        files = resolve_modules(kernel.modules, modules)
        archive = cpio.pack(_entries(kernel, files, content))
        image = GuestImage(
            kernel=kernel,
            initramfs=path,
            sha256=hashlib.sha256(archive).hexdigest(),
            modules=tuple(file.name for file in files),
        )
        publish_file(path, archive)
        publish_file(
            record, json.dumps({"sha256": image.sha256, "modules": image.modules}).encode()
        )
        return image


def _entries(
    kernel: KernelFiles, files: Sequence[ModuleFile], programs: Mapping[str, bytes]
) -> list[cpio.Entry]:
    base = f"lib/modules/{kernel.release}"
    entries = [cpio.directory(name) for name in _MOUNT_POINTS]
    # the kernel opens /dev/console for init before anything is mounted (init/main.c)
    entries.append(cpio.character_device("dev/console", 5, 1))
    entries.append(cpio.character_device("dev/null", 1, 3, mode=0o666))
    listed = "".join(f"/{base}/{file.relative}\n" for file in files)
    entries.append(cpio.file(MODULE_LIST, listed.encode()))
    for file in files:
        # uncompressed, because init_module(2) of an old kernel takes nothing else
        data = file.read()
        # a Debian kernel accepts modules without a signature, and 17 RSA checks are 0.4 s under
        # TCG; apt has verified the package.  Another kernel may insist on its signatures
        data = without_signature(data) if kernel.package else data
        entries.append(cpio.file(f"{base}/{file.relative}", data))
    entries += [cpio.file(name, data, mode=0o755) for name, data in programs.items()]
    if BUSYBOX in programs:
        taken = {entry.name for entry in entries}
        links = (f"bin/{applet}" for applet in APPLETS)
        entries += [cpio.symlink(link, "busybox") for link in links if link not in taken]
    return entries


def _read_program(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingCapability(f"cannot read {path}: {error.strerror}") from error


def _key(kernel: KernelFiles, modules: Sequence[str], programs: Mapping[str, bytes]) -> str:
    inputs = {
        "format": _FORMAT,
        "kernel": kernel.sha256,
        "release": kernel.release,
        "module files": _module_state(kernel),
        "modules": list(modules),
        "applets": APPLETS,
        "programs": {name: hashlib.sha256(data).hexdigest() for name, data in programs.items()},
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _module_state(kernel: KernelFiles) -> list[str]:
    # a package's files never change; a user's own may be rebuilt in place
    if kernel.modules is None or kernel.package:
        return [kernel.package, kernel.package_version]
    files = sorted(kernel.modules.rglob("*.ko*"))
    states = ((path, path.stat()) for path in files)
    return [f"{path} {state.st_size} {state.st_mtime_ns}" for path, state in states]


def _read_record(record: Path, kernel: KernelFiles, path: Path) -> GuestImage | None:
    try:
        entry = json.loads(record.read_text())
        known = GuestImage(
            kernel=kernel,
            initramfs=path,
            sha256=entry["sha256"],
            modules=tuple(entry["modules"]),
        )
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        # not there, or damaged: it is built again
        return None
    return known if digest == known.sha256 else None
