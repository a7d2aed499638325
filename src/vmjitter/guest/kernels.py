"""Guest kernels: Debian's, by name, and files of the user's own."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmjitter.errors import CommandFailed, UsageError
from vmjitter.guest.apt import Arch, fetch_package

# Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"
_MAGIC_OFFSET: Final = 0x202
_MAGIC: Final = b"HdrS"
_PROTOCOL_OFFSET: Final = 0x206
_VERSION_POINTER_OFFSET: Final = 0x20E
_VERSION_BASE: Final = 0x200
_XLOADFLAGS_OFFSET: Final = 0x236
_XLOADFLAGS_PROTOCOL: Final = 0x20C
_XLF_KERNEL_64: Final = 1
_SETUP_SECTORS_OFFSET: Final = 0x1F1
_SECTOR: Final = 512
_ENTRY_64: Final = 0x200
# "xorl %eax,%eax; movl %eax,%ds; movl %eax,%es; movl %eax,%ss": how the 64-bit entry begins
# (Linux arch/x86/boot/compressed/head_64.S), perhaps after "cld; cli"
_ENTRY_64_CODE: Final = bytes.fromhex("31c0 8ed8 8ec0 8ed0")
_ENTRY_64_SEARCHED: Final = 16
_HEADER_BYTES: Final = 0x10000


@dataclass(frozen=True, kw_only=True)
class KernelSource:
    """A kernel in the catalogue.

    Args:
        name: what plans and the command line call it.
        package: Debian's package; it depends on the newest version of that kernel.
        arch: architecture of the guest.
        description: one line for lists.
        real_time: whether it is PREEMPT_RT.
    """

    name: str
    package: str
    arch: Arch
    description: str
    real_time: bool = False


@dataclass(frozen=True, kw_only=True)
class KernelFiles:
    """A kernel on this machine, ready to boot.

    Args:
        name: its name in the catalogue, or ``"custom"``.
        vmlinuz: the bzImage.
        modules: the directory of its modules (with ``kernel/`` in it), or None: all built in.
        release: as ``uname -r`` shows it.
        arch: of the kernel itself.
        package: Debian's package with the files; empty for a custom kernel.
        package_version: exact version of that package; empty for a custom kernel.
        sha256: of the bzImage.
    """

    name: str
    vmlinuz: Path
    modules: Path | None
    release: str
    arch: Arch
    package: str
    package_version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class KernelHeader:
    """What a bzImage says about itself."""

    release: str
    arch: Arch


_SOURCES: Final = (
    KernelSource(
        name="debian-rt-i386",
        package="linux-image-rt-686-pae",
        arch="i386",
        description="32-bit, PREEMPT_RT: nearest to the paper's guest",
        real_time=True,
    ),
    KernelSource(
        name="debian-i386",
        package="linux-image-686-pae",
        arch="i386",
        description="32-bit, Debian's standard kernel",
    ),
    KernelSource(
        name="debian-amd64",
        package="linux-image-amd64",
        arch="x86_64",
        description="64-bit, Debian's standard kernel",
    ),
    KernelSource(
        name="debian-rt-amd64",
        package="linux-image-rt-amd64",
        arch="x86_64",
        description="64-bit, PREEMPT_RT",
        real_time=True,
    ),
    KernelSource(
        name="debian-cloud-amd64",
        package="linux-image-cloud-amd64",
        arch="x86_64",
        description="64-bit, for virtual machines only: no e1000",
    ),
)

KERNELS: Final[Mapping[str, KernelSource]] = {source.name: source for source in _SOURCES}
"""The catalogue by name, in the order in which lists show it."""


def find_kernel(name: str) -> KernelSource:
    """Look a kernel up in the catalogue.

    Raises:
        UsageError: there is none of that name; the hint has the nearest one.
    """
    if name in KERNELS:
        return KERNELS[name]
    near = difflib.get_close_matches(name, KERNELS, n=1, cutoff=0.0)
    raise UsageError(
        f"there is no guest kernel {name!r}",
        hint=f"did you mean {near[0]!r}? All: {', '.join(KERNELS)}",
    )


def flavour_of(name: str, *, real_time: bool) -> str:
    """The PREEMPT_RT or the standard kernel of an architecture, by any kernel of it.

    A kernel that is of that flavour already is its own answer.

    Args:
        name: in the catalogue; empty for a kernel that is a file.
        real_time: whether PREEMPT_RT is wanted.

    Raises:
        UsageError: no other flavour is known of a kernel that is a file; or no such kernel.
    """
    if not name:
        raise UsageError(
            "no other flavour is known of a kernel that is a file",
            hint="take kernels by name instead, see `vmjitter guest list`",
        )
    source = find_kernel(name)
    if source.real_time is real_time:
        return name
    return next(
        one.name
        for one in KERNELS.values()
        if (one.arch, one.real_time) == (source.arch, real_time)
    )


def fetch_kernel(name: str, *, cache: Path | None = None, refresh: bool = False) -> KernelFiles:
    """Return a kernel of the catalogue; it is downloaded when the cache does not have it.

    Args:
        name: name in the catalogue.
        cache: cache directory; `cache_root` if None.
        refresh: look for a newer version even if the cache has one.

    Raises:
        UsageError: no such kernel.
        MissingCapability: this host has no apt, Debian keyring or Debian mirror.
        CommandFailed: apt could not download or verify it.
    """
    source = find_kernel(name)
    package = fetch_package(source.package, source.arch, cache=cache, refresh=refresh)
    images = sorted((package.root / "boot").glob("vmlinuz-*"))
    if not images:
        raise CommandFailed(f"{package.name} {package.version} has no boot/vmlinuz-*")
    release = images[0].name.removeprefix("vmlinuz-")
    directories = (package.root / "lib/modules", package.root / "usr/lib/modules")
    modules = next((d / release for d in directories if (d / release).is_dir()), None)
    return KernelFiles(
        name=name,
        vmlinuz=images[0],
        modules=modules,
        release=release,
        arch=source.arch,
        package=package.name,
        package_version=package.version,
        sha256=_sha256(images[0]),
    )


def custom_kernel(vmlinuz: Path, modules: Path | None = None) -> KernelFiles:
    """Describe a kernel of the user's own.

    Args:
        vmlinuz: a bzImage.
        modules: its modules: ``/lib/modules/RELEASE``, a directory that has ``RELEASE`` or
            ``lib/modules/RELEASE`` in it, or None for a kernel with everything built in.

    Raises:
        UsageError: a file is missing or is not a bzImage.
    """
    try:
        header = read_header(vmlinuz)
        digest = _sha256(vmlinuz)
    except OSError as error:
        raise UsageError(f"cannot read the kernel {vmlinuz}: {error.strerror}") from error
    return KernelFiles(
        name="custom",
        vmlinuz=vmlinuz.absolute(),
        modules=_modules_directory(modules, header.release),
        release=header.release,
        arch=header.arch,
        package="",
        package_version="",
        sha256=digest,
    )


def read_header(vmlinuz: Path) -> KernelHeader:
    """Read release and architecture from the header of a bzImage.

    Raises:
        UsageError: it is not a bzImage.
        OSError: it cannot be read.
    """
    with vmlinuz.open("rb") as stream:
        return parse_header(stream.read(_HEADER_BYTES), str(vmlinuz))


def parse_header(data: bytes, name: str) -> KernelHeader:
    """Interpret the beginning of a bzImage (Linux Documentation/arch/x86/boot.rst).

    ``kernel_version`` at 0x20e points to the version string, less 0x200.  Bit 0 of
    ``xloadflags`` at 0x236, since protocol 2.12 (Linux 3.8), says that there is a 64-bit entry.
    Older 64-bit kernels are told by the code at that entry, 0x200 into the loaded part.

    Args:
        data: the first 64 KiB of the file.
        name: of the file, for messages.

    Raises:
        UsageError: it is not a bzImage.
    """
    if data[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] != _MAGIC:
        raise UsageError(
            f"{name} is not a Linux kernel for x86",
            hint="give the compressed image, usually called vmlinuz or bzImage; not vmlinux",
        )
    pointer = _word(data, _VERSION_POINTER_OFFSET)
    text = data[pointer + _VERSION_BASE :].partition(b"\0")[0] if pointer else b""
    release = text.decode("ascii", errors="replace").partition(" ")[0]
    if not release:
        raise UsageError(f"{name} does not say its kernel version", hint="is it a whole bzImage?")
    return KernelHeader(release=release, arch="x86_64" if _has_entry_64(data) else "i386")


def _has_entry_64(data: bytes) -> bool:
    if _word(data, _PROTOCOL_OFFSET) >= _XLOADFLAGS_PROTOCOL:
        return bool(_word(data, _XLOADFLAGS_OFFSET) & _XLF_KERNEL_64)
    # 0 stands for 4 sectors; the boot sector itself is not counted
    sectors = (data[_SETUP_SECTORS_OFFSET] or 4) + 1
    entry = sectors * _SECTOR + _ENTRY_64
    return _ENTRY_64_CODE in data[entry : entry + _ENTRY_64_SEARCHED]


def _word(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")


def _modules_directory(given: Path | None, release: str) -> Path | None:
    if given is None:
        return None
    if not given.is_dir():
        raise UsageError(f"there is no directory {given} with kernel modules")
    inside = (given / "lib/modules" / release, given / release)
    return next((path for path in inside if path.is_dir()), given).absolute()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
