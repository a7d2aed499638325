"""Finding the threads of a running QEMU, and the CPUs of its guest."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from vmjitter.effects.threads import (
    Thread,
    cpu_list,
    cpu_set,
    kernel_threads,
    read_cpus,
    read_policy,
    thread,
    threads,
)
from vmjitter.errors import UsageError
from vmjitter.model.plan import Accel
from vmjitter.tuning.change import Change
from vmjitter.tuning.knob import Host, Target
from vmjitter.tuning.media.thread import thread_place

_VCPU: Final = re.compile(r"CPU (\d+)/")
"""Name of a vCPU's thread with debug-threads=on: "CPU 0/KVM" or "CPU 0/TCG" (qemu(1), -name)."""

_IOTHREAD: Final = "IO "
_ONLINE: Final = "/sys/devices/system/cpu/online"


def target_of(
    host: Host, pid: int, *, vcpus: Mapping[int, int], iothreads: Collection[int]
) -> Target:
    """A running QEMU of which the roles of the threads are known.

    Args:
        host: where it runs.
        pid: its process id.
        vcpus: thread ids by number of the vCPU.
        iothreads: thread ids.
    """
    every = threads(pid)
    by_id = {one.tid: one for one in every}
    return Target(
        host=host,
        pid=pid,
        threads=every,
        vcpus=tuple(by_id[tid] for _, tid in sorted(vcpus.items()) if tid in by_id),
        iothreads=tuple(by_id[tid] for tid in sorted(iothreads) if tid in by_id),
        # before Linux 6.4, vhost was served by threads of the kernel
        kernel_threads=tuple(
            one for one in kernel_threads() if one.name in {f"vhost-{pid}", f"kvm-pit/{pid}"}
        ),
    )


def find_target(host: Host, pid: int) -> Target:
    """A running QEMU, by the names of its threads.

    Raises:
        UsageError: there is no such process, or none of its threads is named as a vCPU.
    """
    one = thread(pid)
    if one is None:
        raise UsageError(f"there is no process {pid}", hint="pgrep -a qemu")
    vcpus, iothreads = _roles(threads(pid))
    if not vcpus:
        raise UsageError(
            f"no thread of process {pid} ({one.name}) is named as a virtual CPU",
            hint="it must be QEMU, started with -name NAME,debug-threads=on; libvirt does that",
        )
    found = target_of(host, pid, vcpus=vcpus, iothreads=iothreads)
    kvm = any(vcpu.name.endswith("/KVM") for vcpu in found.vcpus)
    accel = Accel.KVM if kvm else Accel.TCG
    return replace(found, host=replace(host, accel=accel, vcpus=len(found.vcpus)))


def host_with(cpus: str, host: Host) -> Host:
    """The host with CPUs that are the guest's; without any, they are shared.

    Args:
        cpus: a list such as "2-3,5"; empty for none.
        host: gives the tree and the rest.

    Raises:
        UsageError: it is no list, a CPU is not there, or none is left for everything else.
    """
    online = cpu_set(host.tree.read(_ONLINE) or "0")
    try:
        guest = cpu_set(cpus)
    except OSError as error:
        raise UsageError(f"--cpus {cpus}: {error.strerror}", hint="write e.g. 2-3,5") from error
    if guest - online:
        raise UsageError(
            f"--cpus {cpus}: there is no CPU {cpu_list(guest - online)}",
            hint=f"online are {cpu_list(online)}",
        )
    if guest and not online - guest:
        raise UsageError(
            f"--cpus {cpus}: no CPU is left for QEMU's other threads and the rest of the system",
            hint="leave out at least one",
        )
    return replace(host, guest_cpus=guest or online, other_cpus=(online - guest) or online)


def starves_main_loop(target: Target, changes: Collection[Change]) -> str:
    """Why policies of virtual CPUs would leave QEMU's main loop no CPU; empty if they do not.

    A real-time vCPU that is busy on the only CPU of the main loop hangs the guest (seapath/ansible
    issue 438).  With the same policy, as in the paper, the main loop at least gets its turn
    whenever the vCPU sleeps.
    """
    wanted = {one.place: one.wanted for one in changes if one.medium == "policy"}
    main = next((one for one in target.threads if one.tid == target.pid), None)
    raised = [vcpu for vcpu in target.vcpus if _is_real_time(wanted.get(thread_place(vcpu), ""))]
    if main is None or not raised or thread_place(main) in wanted:
        return ""
    try:
        if _is_real_time(read_policy(main.tid)):
            return ""
        cpus = frozenset[int]().union(*(cpu_set(read_cpus(vcpu.tid)) for vcpu in raised))
        left = cpu_set(read_cpus(main.tid)) - cpus
    except ProcessLookupError:
        return ""
    if left:
        return ""
    return (
        f"QEMU's main loop may run only where the virtual CPUs do, on CPU {cpu_list(cpus)}, and "
        "would starve: put emulator-pin and vcpu-pin before it"
    )


def _is_real_time(policy: str) -> bool:
    return policy.startswith(("fifo ", "rr "))


def _roles(every: Collection[Thread]) -> tuple[dict[int, int], tuple[int, ...]]:
    vcpus = {int(match[1]): one.tid for one in every if (match := _VCPU.match(one.name))}
    return vcpus, tuple(one.tid for one in every if one.name.startswith(_IOTHREAD))
