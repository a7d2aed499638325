"""QEMU's command line, for every kind of device."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from vmjitter.model.plan import Accel, Disk, Network
from vmjitter.qemu.cmdline import Machine, Resources, qemu_argv

MACHINE = Machine(
    accel=Accel.TCG,
    kernel=Path("/k/vmlinuz"),
    initramfs=Path("/k/initramfs"),
    append="console=ttyS0",
    memory_bytes=1 << 30,
    vcpus=1,
    disk=Disk.IDE,
    network=Network.E1000,
    vhost=False,
)
RESOURCES = Resources(
    console_log=Path("/run/a,b/console.log"),
    qmp_fd=5,
    bell_fd=6,
    shm_path="/proc/self/fd/3",
    shm_bytes=16 << 20,
    scratch_path="/proc/self/fd/4",
    direct=True,
    tap_fd=7,
    vhost_fd=None,
)


def _text(machine: Machine, resources: Resources = RESOURCES) -> str:
    return " ".join(qemu_argv("qemu", machine, resources))


def test_the_emulated_machine_of_the_paper() -> None:
    text = _text(MACHINE)
    assert "-machine pc,accel=tcg,usb=off -cpu max -smp 1 -m 1024M" in text
    assert "ide-hd,bus=ide.0,drive=scratch" in text
    assert "-netdev tap,id=net0,fd=7,vhost=off" in text
    assert "-device e1000,netdev=net0" in text
    assert "virtio" not in text
    assert "ivshmem-plain,memdev=shm" in text
    assert "cache.direct=on" in text
    assert "icount" not in text


def test_the_paravirtual_machine_with_vhost() -> None:
    machine = dataclasses.replace(
        MACHINE, accel=Accel.KVM, disk=Disk.VIRTIO, network=Network.VIRTIO, vhost=True
    )
    text = _text(machine, dataclasses.replace(RESOURCES, vhost_fd=9))
    assert "accel=kvm,usb=off -cpu host" in text
    assert "-device virtio-blk-pci,drive=scratch" in text
    assert "fd=7,vhost=on,vhostfd=9" in text
    assert "virtio-net-pci,netdev=net0" in text


def test_vhost_is_never_claimed_without_its_device() -> None:
    machine = dataclasses.replace(MACHINE, network=Network.VIRTIO, vhost=True)
    assert "vhost=off" in _text(machine)


def test_user_mode_network_without_a_tap() -> None:
    text = _text(MACHINE, dataclasses.replace(RESOURCES, tap_fd=None))
    assert "-netdev user,id=net0,net=10.0.2.0/24" in text


def test_no_devices_when_none_are_asked_for() -> None:
    machine = dataclasses.replace(MACHINE, disk=Disk.NONE, network=Network.NONE)
    text = _text(machine, dataclasses.replace(RESOURCES, scratch_path=None))
    assert "blockdev" not in text
    assert "netdev" not in text


def test_commas_in_paths_are_written_twice() -> None:
    assert "path=/run/a,,b/console.log" in _text(MACHINE)


def test_virtual_time() -> None:
    assert "-icount shift=0,sleep=off" in _text(dataclasses.replace(MACHINE, icount_shift=0))
