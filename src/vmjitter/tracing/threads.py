"""Who is who among the threads that a trace names by their ids."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from vmjitter.effects.threads import Thread, kernel_threads, threads
from vmjitter.qemu.storage_daemon import PROGRAM as STORAGE_PROGRAM

MAIN_LOOP: Final = "main loop"
STORAGE_DAEMON: Final = "storage daemon"
_BY_NAME: Final = (("vhost-", "vhost"), ("worker", "worker"), ("iou-wrk", "worker"))


def qemu_roles(
    pid: int, found: tuple[Thread, ...], vcpus: Mapping[int, int], iothreads: Mapping[str, int]
) -> dict[int, dict[str, str]]:
    """Role and name of each thread of QEMU, by its id.  Pure.

    Args:
        pid: of QEMU, whose first thread is its main loop.
        found: all its threads.
        vcpus: thread id by index, from QMP ``query-cpus-fast``.
        iothreads: thread id by name, from QMP ``query-iothreads``.
    """
    known = {pid: MAIN_LOOP}
    known |= {tid: f"iothread {name}" for name, tid in iothreads.items()}
    known |= {tid: f"vcpu {index}" for index, tid in vcpus.items()}
    return {
        one.tid: {"role": known.get(one.tid) or _role(one.name), "name": one.name} for one in found
    }


def _role(name: str) -> str:
    return next((role for start, role in _BY_NAME if name.startswith(start)), "qemu")


def kernel_roles(pid: int) -> dict[int, dict[str, str]]:
    """The kernel's own threads that work for a QEMU: vhost, the emulated PIT, and KVM's recovery.

    Their names carry QEMU's process id (vhost_worker_create, kvm_create_pit,
    kvm_mmu_post_init_vm in the kernel); from Linux 6.4 on vhost's are threads of QEMU itself.
    """
    kinds = {f"vhost-{pid}": "vhost", f"kvm-pit/{pid}": "kvm-pit"}
    return {
        one.tid: {"role": kinds[one.name], "name": one.name}
        for one in kernel_threads()
        if one.name in kinds
    }


def own_roles(qemu_pid: int | None) -> dict[int, dict[str, str]]:
    """Ourselves, and what we have started beside QEMU.

    That is: loads, their peers, the probe, and who serves the guest's disk in QEMU's place.
    """
    found = {}
    for one in threads(os.getpid()):
        found[one.tid] = {"role": "vmjitter", "name": one.name}
    for pid in children(os.getpid()):
        if pid != qemu_pid:
            role = _child_role(_words(pid))
            found |= {one.tid: {"role": role, "name": one.name} for one in threads(pid)}
    return found


def children(pid: int) -> tuple[int, ...]:
    """Process ids of the children of a process, in order; their own children included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    below = [one for child in found for one in children(child)]
    return tuple(sorted({*found, *below}))


def _words(pid: int) -> tuple[str, ...]:
    try:
        return tuple(Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0"))
    except OSError:
        return ()


def _child_role(words: tuple[str, ...]) -> str:
    """By the command line: ``probe ...``, ``load NAME ...``, ``qemu-storage-daemon ...``."""
    program, task = (*words, "", "")[:2]
    if Path(program).name == STORAGE_PROGRAM:
        return STORAGE_DAEMON
    kind = Path(program).name.partition("-")[0]
    if kind != "load":
        return kind if kind == "probe" else "helper"
    return "peer" if task == "udp-peer" else f"load {task}"
