"""What a simulated host is made of: what is kept, found again and handed in."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes.sim_parts import make_build
from vmjitter.effects.systree import SysTree
from vmjitter.errors import UsageError
from vmjitter.sim import build as build_module
from vmjitter.sim import system
from vmjitter.sim.build import boot_disc, find_build


def test_without_anything_in_the_cache_nothing_is_found_or_made(tmp_path: Path) -> None:
    assert find_build("debian-cloud-amd64", tmp_path / "cache") is None
    assert not (tmp_path / "cache").exists()


def test_the_measuring_half_and_what_it_imports_go_in() -> None:
    found = system.package_directories()
    assert list(found) == ["vmjitter", "qemu.qmp", "pyroute2"]
    for name, directory in found.items():
        assert directory.parts[-len(name.split(".")) :] == tuple(name.split("."))
        assert (directory / "__init__.py").is_file()


def test_what_python_writes_beside_its_files_does_not_count(tmp_path: Path) -> None:
    for name in ("a.py", "b/c.py", "a.pyi", "__pycache__/a.cpython-311.pyc", "old.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [str(path.relative_to(tmp_path)) for path in system._source_files(tmp_path)]
    assert names == ["a.py", "b/c.py"]


def test_the_kernels_configuration_goes_where_the_doctor_looks(tmp_path: Path) -> None:
    kernel = make_build(tmp_path / "parts").kernel
    system._add_config(tmp_path / "without", kernel)
    assert not (tmp_path / "without").exists()
    kernel.vmlinuz.with_name(f"config-{kernel.release}").write_text("CONFIG_KVM=m\n")
    system._add_config(tmp_path / "boot", kernel)
    tree = SysTree(root=tmp_path)
    assert tree.read(f"/boot/config-{kernel.release}") == "CONFIG_KVM=m"


def test_old_system_images_are_forgotten_but_for_the_last(tmp_path: Path) -> None:
    for age in range(7):
        for release in ("6.1.0", "6.2.0"):
            place = tmp_path / f"system-{release}-{age}"
            place.mkdir()
            os.utime(place, (1000 - age, 1000 - age))
    newest = tmp_path / "system-6.1.0-0"
    system._forget_old(newest, "6.1.0", 1000.0 + 3600)
    assert len(list(tmp_path.glob("system-6.1.0-*"))) == 7, "a run may still need them"
    system._forget_old(newest, "6.1.0", 1000.0 + 24 * 3600)
    kept = sorted(path.name for path in tmp_path.glob("system-6.1.0-*"))
    assert kept == [f"system-6.1.0-{age}" for age in range(4)]
    assert len(list(tmp_path.glob("system-6.2.0-*"))) == 7


def test_a_boot_disc_is_made_once_for_each_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(_build: object, line: str, directory: Path) -> None:
        made.append(line)
        (directory / "boot.iso").write_text(line)

    monkeypatch.setattr(build_module, "_make_disc", make)
    parts = make_build(tmp_path / "parts")
    cache = tmp_path / "cache"
    first = boot_disc(parts, ("quiet", "a"), cache)
    assert first.read_text() == "quiet a"
    assert boot_disc(parts, ("quiet", "a"), cache) == first
    assert boot_disc(parts, ("quiet", "b"), cache) != first
    assert made == ["quiet a", "quiet b"]


def test_facts_name_every_part(tmp_path: Path) -> None:
    facts = make_build(tmp_path).facts()
    assert facts["kernel"] == "linux-image-6.1.0-9-cloud-amd64 6.1.9-1"
    assert (facts["bochs"], facts["qemu-system-x86"]) == ("3.0", "1:7.2")
    assert facts["system_image"] == "system-6.1"


def test_a_32_bit_kernel_cannot_be_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "fetch_tree", lambda *_, **__: None)
    monkeypatch.setattr(build_module, "fetch_kernel", lambda *_, **__: SimpleNamespace(arch="i386"))
    with pytest.raises(UsageError, match="must be a 64-bit one, debian-i386 is not"):
        build_module.build("debian-i386", say=lambda _: None, cache=tmp_path)
