"""The guest image: what is in it, that it is always the same, and that it is built once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

import vmjitter
from vmjitter.errors import MissingCapability, UsageError
from vmjitter.guest import image
from vmjitter.guest.image import (
    build_image,
    guest_programs,
    is_static_program,
    modules_for,
    native_program,
)
from vmjitter.guest.kernels import KernelFiles
from vmjitter.guest.modules import ModuleFile, without_signature

SIGNATURE = b"signature" + bytes(8) + (9).to_bytes(4) + b"~Module signature appended~\n"


def parse(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Name to mode and data of what is in a cpio archive."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        mode, size, name_size = (
            int(archive[at + 6 + 8 * field : at + 14 + 8 * field], 16) for field in (1, 6, 11)
        )
        name = archive[at + 110 : at + 109 + name_size].decode()
        data_at = (at + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[data_at : data_at + size])
        at = (data_at + size + 3) // 4 * 4


def resolve(directory: Path | None, wanted: Sequence[str]) -> tuple[ModuleFile, ...]:
    """Stand-in for the real one: module ``a`` needs ``b``."""
    if directory is None:
        return ()
    names = ["b", "a"] if "a" in wanted else list(wanted)
    return tuple(
        ModuleFile(name=name, path=directory / f"kernel/{name}.ko", relative=f"kernel/{name}.ko")
        for name in names
    )


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelFiles:
    monkeypatch.setattr(image, "resolve_modules", resolve)
    modules = tmp_path / "modules" / "6.1.0-test"
    (modules / "kernel").mkdir(parents=True)
    for name in "ab":
        (modules / f"kernel/{name}.ko").write_bytes(name.encode() + SIGNATURE)
    vmlinuz = tmp_path / "vmlinuz"
    vmlinuz.write_bytes(b"kernel")
    return KernelFiles(
        name="debian-test",
        vmlinuz=vmlinuz,
        modules=modules,
        release="6.1.0-test",
        arch="i386",
        package="linux-image-test",
        package_version="1",
        sha256="0" * 64,
    )


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name in ("init", "bin/busybox", "bin/probe", "bin/load"):
        found[name] = tmp_path / name.replace("/", "-")
        found[name].write_text(name)
    return found


def test_contents(kernel: KernelFiles, programs: dict[str, Path], tmp_path: Path) -> None:
    built = build_image(kernel, modules=["a"], programs=programs, cache=tmp_path / "cache")
    assert built.modules == ("b", "a")
    found = parse(built.initramfs.read_bytes())
    base = "lib/modules/6.1.0-test/kernel"
    assert found["etc/modules"][1].decode() == f"/{base}/b.ko\n/{base}/a.ko\n"
    assert found[f"{base}/a.ko"][1] == b"a"
    assert found["bin/sh"][1] == b"busybox"
    assert found["init"][0] & 0o777 == 0o755
    top = {name for name in found if "/" not in name}
    assert top == {"bin", "dev", "etc", "init", "lib", "mnt", "proc", "run", "sys", "tmp"}
    assert {name for name in found if name.startswith("dev/")} == {"dev/console", "dev/null"}


def test_the_same_inputs_give_the_same_bytes(
    kernel: KernelFiles, programs: dict[str, Path], tmp_path: Path
) -> None:
    first = build_image(kernel, modules=["a"], programs=programs, cache=tmp_path / "one")
    backwards = dict(reversed(programs.items()))
    second = build_image(kernel, modules=["a"], programs=backwards, cache=tmp_path / "two")
    assert first.initramfs != second.initramfs
    assert first.initramfs.read_bytes() == second.initramfs.read_bytes()
    assert first.sha256 == second.sha256


def test_the_second_build_only_looks_it_up(
    kernel: KernelFiles,
    programs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = build_image(kernel, modules=["a"], programs=programs, cache=tmp_path)
    # would fail when called
    monkeypatch.setattr(image, "resolve_modules", None)
    assert build_image(kernel, modules=["a"], programs=programs, cache=tmp_path) == first


def test_another_program_or_module_set_is_another_image(
    kernel: KernelFiles, programs: dict[str, Path], tmp_path: Path
) -> None:
    first = build_image(kernel, modules=["a"], programs=programs, cache=tmp_path)
    fewer = build_image(kernel, modules=["b"], programs=programs, cache=tmp_path)
    programs["init"].write_text("another")
    newer = build_image(kernel, modules=["a"], programs=programs, cache=tmp_path)
    assert len({first.initramfs, fewer.initramfs, newer.initramfs}) == 3
    assert fewer.modules == ("b",)


def test_a_damaged_image_is_built_again(
    kernel: KernelFiles, programs: dict[str, Path], tmp_path: Path
) -> None:
    first = build_image(kernel, modules=["a"], programs=programs, cache=tmp_path)
    good = first.initramfs.read_bytes()
    first.initramfs.write_bytes(good[:-1])
    assert build_image(kernel, modules=["a"], programs=programs, cache=tmp_path) == first
    assert first.initramfs.read_bytes() == good


def test_a_kernel_of_the_users_own_keeps_its_signatures(
    kernel: KernelFiles, programs: dict[str, Path], tmp_path: Path
) -> None:
    own = KernelFiles(
        name="custom",
        vmlinuz=kernel.vmlinuz,
        modules=kernel.modules,
        release=kernel.release,
        arch=kernel.arch,
        package="",
        package_version="",
        sha256=kernel.sha256,
    )
    built = build_image(own, modules=["a"], programs=programs, cache=tmp_path)
    found = parse(built.initramfs.read_bytes())
    assert found["lib/modules/6.1.0-test/kernel/a.ko"][1].endswith(SIGNATURE)


def test_everything_built_in(
    kernel: KernelFiles, programs: dict[str, Path], tmp_path: Path
) -> None:
    own = KernelFiles(
        name="custom",
        vmlinuz=kernel.vmlinuz,
        modules=None,
        release=kernel.release,
        arch=kernel.arch,
        package="",
        package_version="",
        sha256=kernel.sha256,
    )
    built = build_image(own, modules=["ext4"], programs=programs, cache=tmp_path)
    assert built.modules == ()
    assert parse(built.initramfs.read_bytes())["etc/modules"][1] == b""


def test_a_program_that_is_not_there(kernel: KernelFiles, tmp_path: Path) -> None:
    with pytest.raises(MissingCapability, match="none"):
        build_image(kernel, modules=[], programs={"init": tmp_path / "none"}, cache=tmp_path)


def test_only_a_signature_is_cut_off() -> None:
    assert without_signature(b"module") == b"module"
    assert without_signature(b"module" + SIGNATURE) == b"module"
    # a length that cannot be: left alone
    assert without_signature(SIGNATURE) == SIGNATURE


def test_modules_for_devices_are_united() -> None:
    assert modules_for(["virtio-blk", "virtio-net"]) == ("virtio_pci", "virtio_blk", "virtio_net")
    with pytest.raises(UsageError, match="'scsi'"):
        modules_for(["scsi"])


def test_native_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmjitter, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(MissingCapability, match="probe-i386") as caught:
        native_program("probe", "i386")
    assert "hatch_build.py" in caught.value.hint
    (tmp_path / "_native").mkdir()
    (tmp_path / "_native/probe-i386").touch()
    assert native_program("probe", "i386") == tmp_path / "_native/probe-i386"


@pytest.mark.parametrize(("name", "arch"), [("probe", "i386"), ("load", "x86_64")])
def test_static_programs_are_told_from_others(name: str, arch: Literal["i386", "x86_64"]) -> None:
    other: Literal["i386", "x86_64"] = "x86_64" if arch == "i386" else "i386"
    data = native_program(name, arch).read_bytes()
    assert is_static_program(data, arch)
    assert not is_static_program(data, other)
    assert not is_static_program(Path("/bin/sh").read_bytes(), arch)  # needs ld.so
    assert not is_static_program(data[:20], arch)
    assert not is_static_program(b"#!/bin/sh\n" * 20, arch)


def test_without_apt_the_hosts_static_busybox_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_apt(*_: object, **__: object) -> Path:
        raise MissingCapability("there is no apt-get")

    monkeypatch.setattr("vmjitter.guest.image.busybox", no_apt)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingCapability, match="no static busybox for i386 guests") as error:
        guest_programs("i386")
    assert "--set guest.busybox=FILE" in error.value.hint
    own = tmp_path / "busybox"
    own.write_bytes(native_program("load", "i386").read_bytes())
    own.chmod(0o755)
    assert guest_programs("i386")["bin/busybox"] == own
    with pytest.raises(MissingCapability, match="for x86_64"):
        guest_programs("x86_64")
