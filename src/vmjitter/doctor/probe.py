"""Looking at this host: the only part of the doctor that asks the kernel for more than files.

Nothing is changed: our own policy is set for a moment and set back, the virtual machine that KVM
makes has no processor, and descriptors are closed at once.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from vmjitter.doctor.view import Facts, HostView
from vmjitter.effects.clock import utc_now
from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import read_policy, write_policy
from vmjitter.errors import CommandFailed, MissingCapability, UsageError
from vmjitter.guest.cache import cache_root
from vmjitter.qemu.machine import qemu_program, qemu_version

_CAP_SYS_NICE: Final = 1 << 23
"""linux/capability.h"""
_KVM_CREATE_VM: Final = 0xAE01
"""linux/kvm.h; Documentation/virt/kvm/api.rst, section 4.2."""
_CONFIGS: Final = ("/proc/config.gz", "/boot/config-{0}", "/lib/modules/{0}/config")


def look(root: Path | None = None) -> HostView:
    """This host, or the files below ``root`` that were copied from another one.

    Raises:
        UsageError: there is no /proc below ``root``.
    """
    if root is None or root == Path("/"):
        return _view(SysTree(), _facts(SysTree()))
    if not (root / "proc").is_dir():
        raise UsageError(
            f"{root} holds no /proc", hint="give the root of a copied tree with /proc and /sys"
        )
    return _view(SysTree(root=root), Facts())


def _view(tree: SysTree, facts: Facts) -> HostView:
    release = tree.read("/proc/sys/kernel/osrelease") or ""
    return HostView(reader=tree.read, tree=tree, facts=facts, config=read_config(tree, release))


def read_config(tree: SysTree, release: str) -> dict[str, str]:
    """The options that a kernel was built with; empty if nobody has kept them."""
    for pattern in _CONFIGS:
        path = tree.root / pattern.format(release).lstrip("/")
        with suppress(OSError, EOFError):
            data = path.read_bytes()
            return parse_config((gzip.decompress(data) if path.suffix == ".gz" else data).decode())
    return {}


def parse_config(text: str) -> dict[str, str]:
    """The options that are set, from a kernel's configuration file."""
    lines = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value.strip('"') for name, _, value in lines}


def _facts(tree: SysTree) -> Facts:
    return Facts(
        root=os.geteuid() == 0,
        fifo_allowed=_may_be_realtime(tree),
        fifo_refused=_fifo_refused(),
        kvm_api=_kvm_refused(),
        kvm_trial=_kvm_trial(tree),
        qemu=_qemu(),
        dma_latency_us=_dma_latency_us(),
        memlock_bytes=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
    )


def _may_be_realtime(tree: SysTree) -> bool:
    for line in (tree.read("/proc/self/status") or "").splitlines():
        if line.startswith("CapEff:") and int(line.split()[1], 16) & _CAP_SYS_NICE:
            return True
    return resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0


def _fifo_refused() -> str:
    """Be a real-time thread for a moment: the only proof that one may (sched_setscheduler(2))."""
    before = read_policy(0)
    try:
        write_policy(0, "fifo 1")
    except OSError as error:
        return error.strerror or str(error)
    write_policy(0, before)
    return ""


def _kvm_refused() -> str:
    try:
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    try:
        os.close(fcntl.ioctl(device, _KVM_CREATE_VM, 0))
    except OSError as error:
        return f"KVM_CREATE_VM: {error.strerror}"
    finally:
        os.close(device)
    return ""


def _kvm_trial(tree: SysTree) -> str | None:
    """What `vmjitter run` found when it last tried KVM with a guest, since this boot."""
    uptime = float((tree.read("/proc/uptime") or "0").split()[0])
    booted = utc_now().timestamp() - uptime
    with suppress(OSError, ValueError):  # another user's cache, none yet, or one that is cleared
        newest = max((cache_root() / "kvm").iterdir(), key=lambda path: path.stat().st_mtime)
        if newest.stat().st_mtime > booted:
            return newest.read_text(errors="replace").strip()
    return None


def _qemu() -> str:
    try:
        return qemu_version(qemu_program())
    except (MissingCapability, CommandFailed):
        return ""


def _dma_latency_us() -> int | None:
    """The value in force, a native 32-bit integer (Documentation/power/pm_qos_interface.rst)."""
    with suppress(OSError):
        handle = os.open("/dev/cpu_dma_latency", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int.from_bytes(os.read(handle, 4), "little", signed=True)
        finally:
            os.close(handle)
    return None
