"""Real Debian kernels into the real cache, without a trace in the host's package system."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vmjitter.errors import CommandFailed, MissingCapability
from vmjitter.guest.apt import busybox
from vmjitter.guest.cache import cache_root
from vmjitter.guest.image import APPLETS, build_image, modules_for
from vmjitter.guest.kernels import KernelFiles, custom_kernel, fetch_kernel
from vmjitter.guest.modules import parse_modinfo, resolve_modules

pytestmark = pytest.mark.system

DEVICES = ("ide", "e1000", "virtio-blk", "virtio-net", "ext4")


def host_state() -> dict[str, object]:
    """What of the host's package system must stay as it is."""
    state: dict[str, object] = {}
    for place in ("/etc/apt", "/var/lib/apt/lists", "/var/lib/dpkg", "/var/cache/apt"):
        for path in [Path(place), *Path(place).rglob("*")]:
            if path.is_file() or path.is_dir():
                state[str(path)] = (path.stat().st_mtime_ns, path.stat().st_size)
    argv = ["dpkg", "--print-foreign-architectures"]
    state["dpkg"] = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return state


@pytest.fixture(scope="module")
def kernel() -> KernelFiles:
    if shutil.which("apt-get") is None:
        pytest.skip("needs Debian's apt-get")
    try:
        return fetch_kernel("debian-rt-i386")
    except MissingCapability as error:
        pytest.skip(f"{error.message}; {error.hint}")


def programs(kernel: KernelFiles) -> dict[str, Path]:
    return {"init": busybox(kernel.arch), "bin/busybox": busybox(kernel.arch)}


def test_the_kernel_is_what_it_says(kernel: KernelFiles) -> None:
    assert kernel.arch == "i386"
    assert kernel.package == f"linux-image-{kernel.release}"
    assert "-rt-686-pae" in kernel.release
    own = custom_kernel(kernel.vmlinuz, kernel.modules)
    assert (own.release, own.arch, own.sha256) == (kernel.release, kernel.arch, kernel.sha256)


def test_the_hosts_package_system_is_not_touched(kernel: KernelFiles, tmp_path: Path) -> None:
    before = host_state()
    # into an empty cache: configuration, lists, download, unpacking
    path = busybox(kernel.arch, cache=tmp_path)
    assert path.stat().st_size > 1_000_000
    assert host_state() == before


def test_a_second_build_needs_no_network(
    kernel: KernelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch_kernel("debian-rt-i386") == kernel
    image = build_image(kernel, modules=(), programs=programs(kernel), cache=cache_root())
    assert image.initramfs.is_file()


def test_without_network_and_cache_the_message_helps(
    kernel: KernelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(CommandFailed, match="apt-get update failed") as caught:
        busybox(kernel.arch, cache=tmp_path)
    assert "proxy" in caught.value.hint
    assert "127.0.0.1" in caught.value.evidence


def test_every_module_follows_what_it_needs(kernel: KernelFiles) -> None:
    files = resolve_modules(kernel.modules, modules_for(DEVICES))
    loaded: set[str] = set()
    for module in files:
        assert set(parse_modinfo(module.read(), module.name).depends) <= loaded
        loaded.add(module.name)
    assert {"ata_piix", "sd_mod", "e1000", "virtio_blk", "virtio_net", "ext4"} <= loaded
    # ext4 asks for a checksum by an alias only
    assert "crc32c_generic" in loaded


def test_two_builds_are_the_same(kernel: KernelFiles, tmp_path: Path) -> None:
    modules = modules_for(DEVICES)
    images = [
        build_image(kernel, modules=modules, programs=programs(kernel), cache=tmp_path / name)
        for name in ("one", "two")
    ]
    assert images[0].initramfs.read_bytes() == images[1].initramfs.read_bytes()


def test_busybox_has_every_applet(kernel: KernelFiles) -> None:
    argv = [str(busybox(kernel.arch)), "--list"]
    try:
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"this host cannot run a program for {kernel.arch}: {error.strerror}")
    assert set(APPLETS) <= set(done.stdout.split())
