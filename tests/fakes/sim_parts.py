"""A simulated host's parts: small files in the places where the real ones are."""

from __future__ import annotations

from pathlib import Path

from vmjitter.config.resolve import Choices, resolve_machine
from vmjitter.guest.kernels import KernelFiles
from vmjitter.guest.tree import Tree
from vmjitter.model.sim import SimSpec
from vmjitter.sim.build import HostBuild


def make_spec(*assignments: str) -> SimSpec:
    """The default machine with changes, as ``--set`` takes them."""
    return resolve_machine(Choices(assignments=assignments))


def make_tree(root: Path, **packages: str) -> Tree:
    """A tree that has no more than a dynamic loader."""
    library = root / "usr/lib/x86_64-linux-gnu"
    library.mkdir(parents=True)
    (library / "ld-linux-x86-64.so.2").touch()
    return Tree(root=root, packages=packages)


def make_build(place: Path) -> HostBuild:
    """All parts, empty."""
    for name in ("vmlinuz", "initramfs", "system-6.1/system.img"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    kernel = KernelFiles(
        name="debian-cloud-amd64",
        vmlinuz=place / "vmlinuz",
        modules=None,
        release="6.1.0-9-cloud-amd64",
        arch="x86_64",
        package="linux-image-6.1.0-9-cloud-amd64",
        package_version="6.1.9-1",
        sha256="0" * 64,
    )
    return HostBuild(
        kernel=kernel,
        tools=make_tree(place / "tools", bochs="3.0"),
        host=make_tree(place / "host", **{"qemu-system-x86": "1:7.2"}),
        system=place / "system-6.1/system.img",
        initramfs=place / "initramfs",
    )
