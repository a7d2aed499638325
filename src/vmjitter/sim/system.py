"""The system disk of the simulated host: QEMU, Python, the measuring half, kernel modules.

A squashfs image.  What is read from it stays in the simulated host's page
cache, so that no measured phase waits for it.  Everything in it comes from Debian packages of one
release and from this installation of vmjitter; the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import vmjitter
from vmjitter.effects import process
from vmjitter.effects.clock import utc_now
from vmjitter.effects.lock import locked
from vmjitter.errors import MissingCapability
from vmjitter.guest.cache import publish_directory
from vmjitter.guest.kernels import KernelFiles
from vmjitter.guest.modules import ModuleFile, resolve_modules, without_signature
from vmjitter.guest.tree import Tree

PACKAGES: Final = (
    "busybox-static",
    "dash",
    "e2fsprogs",
    "libpython3.11-stdlib",
    "python3-minimal",
    "qemu-system-x86",
    "util-linux",
)
"""What the simulated host's programs come from."""

HOST_MODULES: Final = (
    *("kvm_intel", "kvm_amd", "vhost_net", "tun"),
    *("configfs", "null_blk", "ext4"),
    *("sch_netem", "ifb", "act_mirred", "cls_matchall", "sch_ingress"),
)
DISK_MODULES: Final = ("ata_piix", "sd_mod", "squashfs")

_FORMAT: Final = 2
_KEPT: Final = 4
_IN_USE_S: Final = 12 * 3600.0
_PYTHON: Final = "usr/bin/python3.11"
_STDLIB: Final = "usr/lib/python3.11"
_PROGRAMS: Final = (
    _PYTHON,
    *("usr/bin/qemu-system-x86_64", "usr/bin/qemu-storage-daemon"),
    *("usr/bin/setpriv", "usr/bin/taskset", "usr/bin/chrt"),
    *("sbin/mke2fs", "bin/dash"),
)
_FIRMWARE: Final = (
    "usr/share/seabios/bios-256k.bin",
    *("usr/share/qemu/kvmvapic.bin", "usr/share/qemu/linuxboot_dma.bin"),
)
_KEYMAP: Final = "usr/share/qemu/keymaps/en-us"
_DIRECTORIES: Final = ("dev", "proc", "sys", "tmp", "run", "work", "root", "disk", "job", "etc")
# of the standard library: what no part of the measuring half imports
_NOT_NEEDED: Final = (
    "test",
    "ensurepip",
    "idlelib",
    "tkinter",
    "pydoc_data",
    "lib2to3",
    "turtledemo",
)
_TIME: Final = "1000000000"


def system_image(tree: Tree, kernel: KernelFiles, tools: Tree, cache: Path) -> Path:
    """Return the image; it is built when the cache does not have it.

    Args:
        tree: `PACKAGES`, unpacked.
        kernel: of the simulated host.
        tools: a tree with squashfs-tools.
        cache: cache directory.

    Raises:
        MissingCapability: a Python package is not installed properly.
        CommandFailed: it could not be made.
    """
    place = cache / "sim" / f"system-{kernel.release}-{_key(tree, kernel)[:16]}"
    with locked(cache / "sim" / ".lock"):
        if not (place / "system.img").is_file():
            with publish_directory(place) as directory:
                root = directory / "root"
                _fill(root, tree, kernel)
                _make_image(root, directory / "system.img", tools)
                shutil.rmtree(root)
            _forget_old(place, kernel.release, utc_now().timestamp())
        os.utime(place)
    return place / "system.img"


def _forget_old(newest: Path, release: str, now_s: float) -> None:
    """Remove images that other versions of vmjitter used, but for the last few.

    A run opens its image anew for every trial, so one that was asked for not long ago stays.
    """
    places = sorted(
        newest.parent.glob(f"system-{release}-*"), key=lambda place: place.stat().st_mtime_ns
    )
    for place in places[:-_KEPT]:
        if now_s - place.stat().st_mtime < _IN_USE_S:
            continue
        shutil.rmtree(place, ignore_errors=True)


def module_files(
    kernel: KernelFiles, names: Sequence[str]
) -> Iterator[tuple[ModuleFile, str, bytes]]:
    """Modules with what they need, in load order: file, its name with suffix, its bytes."""
    for file in resolve_modules(kernel.modules, names):
        yield file, Path(file.relative).name, without_signature(file.read())


def package_directories() -> dict[str, Path]:
    """Where the measuring half and what it imports are installed, by their dotted names.

    Raises:
        MissingCapability: a package is not installed here.
    """
    found = {"vmjitter": Path(vmjitter.__file__).parent}
    for name, distribution in (("qemu.qmp", "qemu.qmp"), ("pyroute2", "pyroute2")):
        try:
            base = metadata.distribution(distribution)
        except metadata.PackageNotFoundError:
            raise MissingCapability(
                f"the Python package {distribution} is not installed",
                hint="install vmjitter again",
            ) from None
        found[name] = Path(str(base.locate_file(name.replace(".", "/"))))
    return found


def _key(tree: Tree, kernel: KernelFiles) -> str:
    sources = {
        name: [
            f"{path.relative_to(base)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in _source_files(base)
        ]
        for name, base in package_directories().items()
    }
    inputs = [_FORMAT, tree.packages, kernel.sha256, kernel.release, HOST_MODULES, sources]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _source_files(base: Path) -> list[Path]:
    """Files of a Python package, without what Python itself writes beside them."""
    return sorted(
        path
        for path in base.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix not in (".pyc", ".pyi")
    )


def _fill(root: Path, tree: Tree, kernel: KernelFiles) -> None:
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True)
    _add_programs(root, tree)
    _add_python(root, tree)
    for source in (*_FIRMWARE, _KEYMAP):
        subdirectory = "keymaps" if source == _KEYMAP else ""
        _copy(tree.root / source, root / "usr/share/qemu" / subdirectory / Path(source).name)
    _add_modules(root / "modules", kernel)
    _add_config(root / "boot", kernel)
    (root / "sbin").mkdir(exist_ok=True)
    _copy(Path(__file__).parent / "rootfs/init.sh", root / "sbin/init", mode=0o755)
    _copy(tree.root / "etc/mke2fs.conf", root / "etc/mke2fs.conf")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/mtab").symlink_to("/proc/self/mounts")


def _add_programs(root: Path, tree: Tree) -> None:
    for program in _PROGRAMS:
        _copy(tree.root / program, root / program, mode=0o755)
        _add_libraries(root, tree, program)
    _copy(tree.loader, root / "lib64" / tree.loader.name, mode=0o755)
    (root / "usr/bin/python3").symlink_to("python3.11")
    busybox = tree.root / "bin/busybox"
    _copy(busybox, root / "bin/busybox", mode=0o755)
    # busybox's own shell would run its applets before any program of the same name
    (root / "bin/sh").symlink_to("dash")
    taken = {path.name for path in (*root.glob("usr/bin/*"), *root.glob("*bin/*"))}
    for applet in process.check([str(busybox), "--list"]).stdout.split():
        if applet not in taken:
            (root / "bin" / applet).symlink_to("busybox")


def _add_libraries(root: Path, tree: Tree, program: str) -> None:
    for name, path in tree.libraries(program).items():
        place = root / "lib/x86_64-linux-gnu" / name
        if not place.exists():
            _copy(path, place, mode=0o755)


def _add_python(root: Path, tree: Tree) -> None:
    library = root / _STDLIB
    shutil.copytree(
        tree.root / _STDLIB, library, symlinks=True, ignore=_ignored, dirs_exist_ok=True
    )
    for extension in (tree.root / _STDLIB / "lib-dynload").glob("*.so"):
        _add_libraries(root, tree, str(extension.relative_to(tree.root)))
    for name, base in package_directories().items():
        target = library / name.replace(".", "/")
        shutil.copytree(base, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))
    # compiled now, so that the simulated host does not: that would be a second of its time; with
    # hashes instead of times in them, so that the same sources give the same bytes
    compileall = [
        "-S",
        "-m",
        "compileall",
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
    ]
    environment = {**os.environ, "PYTHONHOME": str(tree.root / "usr"), "PYTHONHASHSEED": "0"}
    argv = [*tree.argv(_PYTHON), *compileall, "-s", str(root), "-p", "/", str(library)]
    process.check(argv, env=environment)


def _ignored(directory: str, names: list[str]) -> set[str]:
    top = Path(directory).name == Path(_STDLIB).name
    dangling = {name for name in names if not (Path(directory) / name).exists()}
    config = {name for name in names if name.startswith("config-") or name == "__pycache__"}
    return dangling | config | (set(_NOT_NEEDED) & set(names) if top else set())


def _add_modules(directory: Path, kernel: KernelFiles) -> None:
    directory.mkdir()
    early = {file.name for file, _, _ in module_files(kernel, DISK_MODULES)}
    order = []
    for file, name, data in module_files(kernel, HOST_MODULES):
        if file.name not in early:
            (directory / name).write_bytes(data)
            order.append(name)
    (directory / "order").write_text("".join(f"{name}\n" for name in order))


def _add_config(directory: Path, kernel: KernelFiles) -> None:
    """The kernel's configuration where Debian has it: `vmjitter doctor` looks there."""
    config = kernel.vmlinuz.with_name(f"config-{kernel.release}")
    if config.is_file():
        _copy(config, directory / config.name)


def _make_image(root: Path, image: Path, tools: Tree) -> None:
    """Make a read-only file system of a directory, without privilege and reproducibly.

    Uncompressed: the simulated host would spend instructions on unpacking.
    """
    argv = [*tools.argv("usr/bin/mksquashfs"), str(root), str(image), "-quiet", "-no-progress"]
    argv += ["-noI", "-noD", "-noF", "-noX", "-no-xattrs", "-all-root", "-processors", "1"]
    argv += ["-all-time", _TIME, "-mkfs-time", _TIME]
    process.check(argv)


def _copy(source: Path, target: Path, *, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)
