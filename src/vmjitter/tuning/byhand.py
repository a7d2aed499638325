"""What has to start again for a knob, and what to write where if vmjitter does not do it.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from vmjitter.effects.systree import SysTree
from vmjitter.errors import MissingCapability
from vmjitter.guest.kernels import KERNELS
from vmjitter.model.plan import Accel, Disk, Network, Scenario, Where
from vmjitter.qemu.cmdline import GUEST_MAC, Machine, Resources, qemu_argv
from vmjitter.qemu.storage_daemon import PROGRAM as STORAGE_PROGRAM
from vmjitter.qemu.storage_daemon import storage_daemon_argv
from vmjitter.tuning.knob import Host, Knob, ModuleKnob, Needs

_RESTART: Final[Mapping[Needs, str]] = MappingProxyType(
    {
        Needs.NOTHING: "",
        Needs.QEMU: "QEMU must be started again",
        Needs.MODULE: "the module must be loaded again, for which all guests have to stop",
        Needs.GUEST: "the guest must be started again",
        Needs.HOST: "the host must be started again",
    }
)
_RESOURCES: Final = Resources(
    console_log=Path("console.log"),
    qmp_fd=3,
    bell_fd=4,
    shm_path="shm",
    shm_bytes=1 << 20,
    scratch_path="IMAGE",
    direct=True,
    tap_fd=5,
    vhost_fd=6,
    storage_fd=7,
)
_EMULATED: Final = Scenario(
    name="any",
    title="",
    where=Where.GUEST,
    loads=(),
    disk=Disk.IDE,
    network=Network.E1000,
    vhost=False,
    knobs=(),
    paper_max_ns=None,
    kernel=next(iter(KERNELS)),
)
_VIRTIO: Final = replace(_EMULATED, disk=Disk.VIRTIO, network=Network.VIRTIO)

_OURS: Final = re.compile(rf",(fd|vhostfd)=\d+|,mac={GUEST_MAC}|,romfile=")
"""Words that only our own guests need."""


@dataclass(frozen=True, kw_only=True)
class _Plenty(SysTree):
    """A machine on which nothing is short, so that no knob holds back its words."""

    def read(self, path: str) -> str:  # noqa: ARG002
        return str(1 << 30)


def how(knob: Knob, host: Host) -> str:
    """What has to start again, and what to write for that; empty for a knob that is live.

    Args:
        knob: any.
        host: its guest's memory counts.
    """
    restart = _RESTART[knob.needs]
    host = replace(host, tree=_Plenty())
    if isinstance(knob, ModuleKnob):
        vendor = "kvm_intel" if knob.module == "kvm" else knob.module  # it uses kvm
        return f"{restart}: modprobe -r {vendor} kvm; modprobe {vendor}"
    words = [*_arguments(knob, host), *_kernel(knob), *_in_guest(knob)]
    return "; ".join(part for part in (restart, " and ".join(words)) if part)


def _arguments(knob: Knob, host: Host) -> list[str]:
    """The words of QEMU's command line that the knob adds or changes."""
    for scenario in (_EMULATED, _VIRTIO):  # some knobs want a virtio device
        before = _machine(scenario, host)
        try:
            after = knob.on_machine(_machine(knob.on_scenario(scenario), host), host)
        except MissingCapability:
            continue
        if after.cache == "none":  # our default, but not QEMU's
            before = replace(before, cache="writeback")
        old, new = (_pairs(qemu_argv("qemu", one, _RESOURCES)) for one in (before, after))
        words = [_guest_word(before.append, pair) for pair in new if pair not in old]
        return [*_daemon(after), *words] if after.vhost_user_blk else words
    return []


def _daemon(machine: Machine) -> list[str]:
    """The process that serves the disk, and the name of its socket, which ours has not."""
    argv = storage_daemon_argv(STORAGE_PROGRAM, machine, image="IMAGE", direct=True, listen_fd=7)
    return [" ".join(argv).replace("addr.type=fd,addr.str=7", "addr.type=unix,addr.path=SOCKET")]


def _guest_word(append: str, pair: str) -> str:
    name, _, value = pair.partition(" ")
    if name != "-append":
        return f"qemu {_OURS.sub('', pair).replace('id=storage', 'id=storage,path=SOCKET')}"
    return f"the guest's kernel command line {value.removeprefix(append).strip()}"


def _kernel(knob: Knob) -> list[str]:
    """The packages with the kernel that the knob chooses for the guest, if it chooses one."""
    scenarios = [knob.on_scenario(replace(_EMULATED, kernel=name)) for name in KERNELS]
    chosen = {scenario.kernel for scenario in scenarios}
    if chosen == set(KERNELS):
        return []
    packages = [one.package for one in KERNELS.values() if one.name in chosen]
    return [f"in the guest, Debian's {' or '.join(packages)}"]


def _in_guest(knob: Knob) -> list[str]:
    return [f"in the guest, {one.wanted!r} in {one.place}" for one in knob.on_guest()]


def _pairs(argv: tuple[str, ...]) -> list[str]:
    """Options with their values."""
    pairs: list[str] = []
    for word in argv[1:]:
        if word.startswith("-"):
            pairs.append(word)
        else:
            pairs[-1] += f" {word}"
    return pairs


def _machine(scenario: Scenario, host: Host) -> Machine:
    return Machine(
        accel=Accel.KVM,
        kernel=Path("KERNEL"),
        initramfs=Path("INITRD"),
        append="",
        memory_bytes=host.guest_bytes or 1 << 30,
        vcpus=1,
        disk=scenario.disk,
        network=scenario.network,
        vhost=scenario.vhost,
    )
