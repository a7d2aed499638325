"""Which kernel modules a guest needs, and in which order they are loaded.

Debian's packages carry no ``modules.dep`` (depmod runs when they are installed), so what a
module needs is read from the module itself: its ELF section ``.modinfo`` holds ``key=value``
strings (Linux include/linux/module.h, MODULE_INFO), among them ``depends`` (written by
scripts/mod/modpost.c), ``softdep`` and ``alias``.
"""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Final

from vmjitter.errors import DataError, UsageError

DEVICE_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "ide": ("ata_piix", "sd_mod"),
    "e1000": ("e1000",),
    "virtio-pci": ("virtio_pci",),
    "virtio-blk": ("virtio_pci", "virtio_blk"),
    "virtio-net": ("virtio_pci", "virtio_net"),
    "virtio-console": ("virtio_pci", "virtio_console"),
    "ext4": ("ext4",),
}
"""Modules by what a scenario's guest needs; what those need is found by `resolve_modules`."""

_SUFFIXES: Final = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")
_ELF_MAGIC: Final = b"\x7fELF"
_SIGNATURE_MARKER: Final = b"~Module signature appended~\n"
_SIGNATURE_STRUCT_BYTES: Final = 12
# format and place of e_shoff, the same of e_shentsize, e_shnum and e_shstrndx, and the format of
# a section header down to sh_offset and sh_size: see elf(5)
_ELF_32: Final = ("<I", 32, "<HHH", 46, "<16xII")
_ELF_64: Final = ("<Q", 40, "<HHH", 58, "<24xQQ")


@dataclass(frozen=True, kw_only=True)
class ModuleFile:
    """A module to load.

    Args:
        name: canonical name, with underscores.
        path: its file on this machine, perhaps compressed.
        relative: path of the uncompressed file below ``/lib/modules/RELEASE``.
    """

    name: str
    path: Path
    relative: str

    def read(self) -> bytes:
        """The uncompressed module.

        Raises:
            DataError: it cannot be read or uncompressed.
        """
        return _read_module(self.path)


@dataclass(frozen=True, kw_only=True)
class ModuleInfo:
    """What a module says about itself.

    Args:
        depends: modules whose symbols it uses.
        soft_before: modules or aliases that it wishes to be there before it.
        aliases: other names that stand for it.
    """

    depends: tuple[str, ...]
    soft_before: tuple[str, ...]
    aliases: tuple[str, ...]


def without_signature(data: bytes) -> bytes:
    """A module without the signature that the kernel's makers appended, if there is one.

    A kernel that does not insist on signatures loads it just as well, sets taint flag E, and is
    spared an RSA operation and a SHA-256 per module.  Layout: the ELF file, the signature, a
    ``struct module_signature`` of 12 bytes that ends with the signature's length in big-endian
    order, a marker (Linux include/linux/module_signature.h).
    """
    if not data.endswith(_SIGNATURE_MARKER):
        return data
    end = len(data) - len(_SIGNATURE_MARKER) - _SIGNATURE_STRUCT_BYTES
    length = int.from_bytes(data[end:][_SIGNATURE_STRUCT_BYTES - 4 : _SIGNATURE_STRUCT_BYTES])
    return data[: end - length] if 0 < length < end else data


def canonical(name: str) -> str:
    """The kernel's spelling of a module's name: ``-`` and ``_`` are the same."""
    return name.replace("-", "_")


def load_order(wanted: Sequence[str], needs: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    """Return the wanted names and all they need, each once, every one after what it needs.

    Where that leaves a choice, the order is the one of ``wanted`` and ``needs``.

    Args:
        wanted: names asked for.
        needs: the names that must be there before a name.

    Raises:
        UsageError: names need each other in a circle.
    """
    done: dict[str, None] = {}
    # the path from a wanted name to the one in hand, as pairs of name and needs still to visit
    for start in wanted:
        path: dict[str, list[str]] = {}
        if start not in done:
            path[start] = list(needs(start))
        while path:
            name = next(reversed(path))
            if not path[name]:
                del path[name]
                done[name] = None
                continue
            following = path[name].pop(0)
            if following in path:
                raise UsageError(f"modules need each other: {', '.join(path)}")
            if following not in done:
                path[following] = list(needs(following))
    return tuple(done)


def resolve_modules(directory: Path | None, wanted: Sequence[str]) -> tuple[ModuleFile, ...]:
    """Return the files to load for the wanted modules, in load order.

    Modules built into the kernel are left out.  Without a directory, everything is taken to be
    built in; so is, in a directory without ``modules.builtin``, what has no file.

    Args:
        directory: ``/lib/modules/RELEASE`` of the kernel, or None.
        wanted: names or aliases of modules.

    Raises:
        UsageError: the kernel has no such module.
        DataError: a module cannot be read.
    """
    if directory is None:
        return ()
    tree = _ModuleTree(directory)
    start = [name for asked in wanted if (name := tree.require(asked)) is not None]
    return tuple(
        ModuleFile(
            name=name, path=tree.files[name], relative=_relative(tree.files[name], directory)
        )
        for name in load_order(start, tree.needs)
    )


def parse_modinfo(data: bytes, name: str) -> ModuleInfo:
    """Read the section ``.modinfo`` of an uncompressed module.

    Args:
        data: the ELF file, little-endian.
        name: of the file, for messages.

    Raises:
        DataError: it is not such a file.
    """
    try:
        pairs = [item.partition(b"=")[::2] for item in _modinfo(data).split(b"\0") if item]
    except (struct.error, ValueError) as error:
        raise DataError(f"{name} is not a kernel module: {error}") from error
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key.decode(), []).append(value.decode(errors="replace"))
    depends = [item for text in values.get("depends", []) for item in text.split(",") if item]
    return ModuleInfo(
        depends=tuple(canonical(item) for item in depends),
        soft_before=tuple(word for text in values.get("softdep", []) for word in _before(text)),
        aliases=tuple(values.get("alias", [])),
    )


def _before(softdep: str) -> list[str]:
    # the words after "pre:"; those after "post:" are for what runs later, modprobe.d(5)
    return softdep.partition("post:")[0].replace("pre:", " ").split()


def _modinfo(data: bytes) -> bytes:
    if data[:4] != _ELF_MAGIC or len(data) < 64:
        raise ValueError("no ELF file")
    start_format, start_at, count_format, count_at, section_format = (
        _ELF_64 if data[4] == 2 else _ELF_32
    )
    (start,) = struct.unpack_from(start_format, data, start_at)
    size, count, names_index = struct.unpack_from(count_format, data, count_at)
    headers = [start + index * size for index in range(count)]
    places = [struct.unpack_from(section_format, data, header) for header in headers]
    if names_index >= count:
        raise ValueError("no section names")
    names_at, names_size = places[names_index]
    names = data[names_at : names_at + names_size]
    for header, (offset, length) in zip(headers, places, strict=True):
        (name_at,) = struct.unpack_from("<I", data, header)
        if names[name_at:].partition(b"\0")[0] == b".modinfo":
            return data[offset : offset + length]
    raise ValueError("no section .modinfo")


class _ModuleTree:
    """The modules of one kernel; files are read when something asks for them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._info: dict[str, ModuleInfo] = {}
        self.files = _module_files(directory)
        listed = directory / "modules.builtin"
        self._lists_builtin = listed.is_file()
        self._builtin = {
            canonical(Path(line).name.removesuffix(".ko"))
            for line in (listed.read_text().split() if self._lists_builtin else ())
        }

    def require(self, asked: str) -> str | None:
        """The module that a name stands for; None if it is built in.

        Raises:
            UsageError: there is none.
        """
        found = self._find(asked)
        if found is not None:
            return found
        if self._is_builtin(asked) or not self._lists_builtin:
            return None
        raise UsageError(
            f"the kernel with modules in {self._directory} has no module {asked!r}",
            hint="choose another kernel, or devices that this one has drivers for",
        )

    def needs(self, name: str) -> list[str]:
        """Modules to load before this one, those it only wishes for first."""
        info = self._read(name)
        soft = [found for wish in info.soft_before if (found := self._find(wish))]
        hard = [found for need in info.depends if (found := self.require(need))]
        return [found for found in (*soft, *hard) if found != name]

    def _find(self, asked: str) -> str | None:
        name = canonical(asked)
        if name in self.files:
            return name
        if self._is_builtin(asked):
            return None
        candidates = self._by_alias.get(name, ())
        # crc32c is in crc32c_generic and in variants that need a certain processor
        generic = [found for found in candidates if found.endswith("_generic")]
        return next(iter(generic or candidates), None)

    def _is_builtin(self, asked: str) -> bool:
        name = canonical(asked)
        if name in self._builtin:
            return True
        return any(fnmatchcase(name, pattern) for pattern in self._builtin_aliases)

    def _read(self, name: str) -> ModuleInfo:
        if name not in self._info:
            path = self.files[name]
            self._info[name] = parse_modinfo(_read_module(path), str(path))
        return self._info[name]

    @cached_property
    def _by_alias(self) -> Mapping[str, Sequence[str]]:
        # only crypto algorithms are asked for by alias, so only their modules are read: thousands
        # of others would take seconds
        found: dict[str, list[str]] = {}
        for name in sorted(self.files):
            if {"crypto", "lib"} & set(self.files[name].relative_to(self._directory).parts):
                for alias in self._read(name).aliases:
                    found.setdefault(canonical(alias), []).append(name)
        return found

    @cached_property
    def _builtin_aliases(self) -> Sequence[str]:
        # "module.key=value" strings, Linux Documentation/kbuild/kbuild.rst, modules.builtin.modinfo
        path = self._directory / "modules.builtin.modinfo"
        data = path.read_bytes() if path.is_file() else b""
        pairs = (item.partition(b"=") for item in data.split(b"\0"))
        return [canonical(value.decode()) for key, _, value in pairs if key.endswith(b".alias")]


def _module_files(directory: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(directory.rglob("*.ko*")):
        suffix = next((suffix for suffix in _SUFFIXES if path.name.endswith(suffix)), None)
        if suffix:
            found[canonical(path.name.removesuffix(suffix))] = path
    return found


def _relative(path: Path, directory: Path) -> str:
    relative = path.relative_to(directory)
    return str(relative.with_name(relative.name.partition(".ko")[0] + ".ko"))


def _read_module(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            return gzip.decompress(data)
        if path.suffix == ".xz":
            return lzma.decompress(data)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(f"cannot read the module {path}: {error}") from error
    if path.suffix == ".zst":
        raise DataError(
            f"cannot read the module {path}: it is compressed with zstd",
            hint="uncompress the modules first: unzstd --rm *.ko.zst",
        )
    return data
