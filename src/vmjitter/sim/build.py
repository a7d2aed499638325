"""Everything that a simulated host is started from, in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmjitter.effects import process
from vmjitter.effects.lock import locked
from vmjitter.errors import MissingCapability, UsageError
from vmjitter.guest import cpio
from vmjitter.guest.cache import cache_root, publish_directory, publish_file
from vmjitter.guest.kernels import KernelFiles, fetch_kernel, find_kernel
from vmjitter.guest.tree import Tree, fetch_tree, find_tree
from vmjitter.sim.system import DISK_MODULES, PACKAGES, module_files, system_image

TOOLS: Final = ("bochs", "bochs-term", "xorriso", "isolinux", "syslinux-common", "squashfs-tools")
TOOLS_SUITE: Final = "trixie"
"""Bochs 3.0 is in Debian 13.  Debian 12 has 2.7, which always runs under its own debugger: half
as fast with one CPU, and with several CPUs far slower than that, see
docs/method/simulated-host.md."""

BOOT_ARGUMENTS: Final = (
    "console=ttyS0",
    "quiet",
    "rdinit=/init",
    "panic=-1",
    "preempt=full",
    # the simulated TSC is the clock itself; the watchdog would compare it with others
    "tsc=reliable",
    # the same addresses in every run
    "nokaslr",
    "cryptomgr.notests",
)
"""Words on the host kernel's command line, whatever the machine."""

_EARLY_APPLETS: Final = ("sh", "mount", "umount", "insmod", "sleep", "switch_root", "poweroff")
_TIME: Final = "1000000000"


@dataclass(frozen=True, kw_only=True)
class HostBuild:
    """The parts of a simulated host, on this machine.

    Attributes:
        tools: tree with the simulator.
        host: tree that the simulated host's own programs come from.
        system: image of its system disk.
        initramfs: what its kernel starts with.
    """

    kernel: KernelFiles
    tools: Tree
    host: Tree
    system: Path
    initramfs: Path

    def facts(self) -> dict[str, str]:
        """What it is made of, as text by name."""
        names = {"bochs": self.tools, "qemu-system-x86": self.host, "python3.11-minimal": self.host}
        return {
            "kernel": f"{self.kernel.package} {self.kernel.package_version}",
            **{name: tree.packages.get(name, "") for name, tree in names.items()},
            "system_image": self.system.parent.name,
        }


def build(
    kernel: str,
    *,
    say: Callable[[str], None],
    cache: Path | None = None,
    refresh: bool = False,
) -> HostBuild:
    """Fetch and make what is not in the cache; no privilege is needed, and no network later.

    Args:
        kernel: of the simulated host, a name from the catalogue of kernels.
        say: told what is being done.
        cache: cache directory; `cache_root` if None.
        refresh: look for newer packages even if the cache has some.

    Raises:
        UsageError: no such kernel, or it lacks a module.
        MissingCapability: not x86-64, or no apt, Debian keyring or Debian mirror.
        CommandFailed: a package could not be fetched, or an image not be made.
    """
    root = cache or cache_root()
    if (machine := os.uname().machine) != "x86_64":
        raise MissingCapability(
            f"the simulated host runs on x86-64 machines only, this is {machine}",
            hint="use another machine; its results can be read on this one: vmjitter report",
        )
    say("simulator")
    tools = fetch_tree(TOOLS, suite=TOOLS_SUITE, cache=root, refresh=refresh)
    say("programs of the simulated host")
    host = fetch_tree(PACKAGES, cache=root, refresh=refresh)
    say(f"host kernel {kernel}")
    files = fetch_kernel(kernel, cache=root, refresh=refresh)
    if files.arch != "x86_64":
        raise UsageError(
            f"the simulated host's own kernel must be a 64-bit one, {kernel} is not",
            hint="--set sim.kernel=debian-cloud-amd64; the guest's kernel is guest.kernel",
        )
    say("system disk of the simulated host")
    return HostBuild(
        kernel=files,
        tools=tools,
        host=host,
        system=system_image(host, files, tools, root),
        initramfs=_initramfs(files, host, root),
    )


def find_build(kernel: str, cache: Path | None = None) -> HostBuild | None:
    """What `build` would return if it need not fetch anything, or None."""
    root = cache or cache_root()
    package = find_kernel(kernel).package
    known = (root / "packages/amd64" / f"{package}.json").is_file()
    trees = (find_tree(TOOLS, suite=TOOLS_SUITE, cache=root), find_tree(PACKAGES, cache=root))
    if not known or None in trees:
        return None
    return build(kernel, say=lambda _: None, cache=root)


def boot_disc(build: HostBuild, append: Sequence[str], cache: Path | None = None) -> Path:
    """A bootable CD image with kernel, initramfs and command line; made when it is missing.

    Args:
        build: what to boot.
        append: the kernel's command line.
        cache: cache directory; `cache_root` if None.

    Raises:
        CommandFailed: xorriso failed.
    """
    root = cache or cache_root()
    line = " ".join(append)
    key = hashlib.sha256(f"{build.kernel.sha256} {build.initramfs.name} {line}".encode())
    place = root / "sim" / f"disc-{key.hexdigest()[:16]}"
    with locked(root / "sim" / ".lock"):
        if not (place / "boot.iso").is_file():
            with publish_directory(place) as directory:
                _make_disc(build, line, directory)
    return place / "boot.iso"


def _initramfs(kernel: KernelFiles, host: Tree, cache: Path) -> Path:
    script = (Path(__file__).parent / "rootfs/early.sh").read_bytes()
    modules = [(name, data) for _, name, data in module_files(kernel, DISK_MODULES)]
    busybox = (host.root / "bin/busybox").read_bytes()
    entries = [
        cpio.file("init", script, mode=0o755),
        cpio.file("bin/busybox", busybox, mode=0o755),
        cpio.file("modules/order", "".join(f"{name}\n" for name, _ in modules).encode()),
        cpio.character_device("dev/console", 5, 1),
        *(cpio.directory(name) for name in ("dev", "proc", "root", "sys")),
        *(cpio.symlink(f"bin/{applet}", "busybox") for applet in _EARLY_APPLETS),
        *(cpio.file(f"modules/{name}", data) for name, data in modules),
    ]
    archive = cpio.pack(entries)
    path = cache / "sim" / f"early-{hashlib.sha256(archive).hexdigest()[:16]}.cpio"
    if not path.is_file():
        publish_file(path, archive)
    return path


def _make_disc(build: HostBuild, line: str, directory: Path) -> None:
    content = directory / "content"
    (content / "isolinux").mkdir(parents=True)
    root = build.tools.root
    sources = {
        "isolinux/isolinux.bin": root / "usr/lib/ISOLINUX/isolinux.bin",
        "isolinux/ldlinux.c32": root / "usr/lib/syslinux/modules/bios/ldlinux.c32",
        "vmlinuz": build.kernel.vmlinuz,
        "initrd": build.initramfs,
    }
    for name, source in sources.items():
        (content / name).write_bytes(source.read_bytes())
    (content / "isolinux/isolinux.cfg").write_text(
        "DEFAULT host\nPROMPT 0\nTIMEOUT 0\nLABEL host\n"
        f" KERNEL /vmlinuz\n INITRD /initrd\n APPEND {line}\n"
    )
    argv = [*build.tools.argv("usr/bin/xorriso"), "-as", "mkisofs", "-quiet"]
    argv += ["-o", str(directory / "boot.iso"), "-b", "isolinux/isolinux.bin"]
    argv += ["-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4"]
    argv += ["-boot-info-table", "--set_all_file_dates", f"={_TIME}"]
    argv += ["-uid", "0", "-gid", "0"]
    argv += ["--modification-date=2001090901464000", str(content)]
    process.check(argv)
    shutil.rmtree(content)
