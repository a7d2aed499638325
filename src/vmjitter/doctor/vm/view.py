"""A QEMU that runs, as the checks see it: through /proc alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vmjitter.doctor.view import HostView
from vmjitter.doctor.vm.options import Option, parse
from vmjitter.effects.threads import cpu_set
from vmjitter.errors import UsageError

_POLICIES: Final = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline"}
"""Linux, include/uapi/linux/sched.h."""
# Fields of proc_pid_stat(5), counted behind the name, the state first.
_MINFLT: Final = 7
_PARENT: Final = 1
_PRIORITY: Final = 37
_POLICY: Final = 38
_KTHREADD: Final = "2"
_VCPU: Final = re.compile(r"CPU (\d+)/(KVM|TCG)")


@dataclass(frozen=True, kw_only=True)
class VmThread:
    """A thread of QEMU, or of the kernel on its behalf.

    Attributes:
        policy: in the words of `chrt`.
        priority: the real-time one, 0 without.
        cpus: on which it may run.
        minor_faults: that it has had, without reading from a disk.
    """

    tid: int
    name: str
    policy: str
    priority: int
    cpus: frozenset[int]
    minor_faults: int

    @property
    def realtime(self) -> bool:
        """Whether it runs before all ordinary threads."""
        return self.policy in {"fifo", "rr", "deadline"}

    @property
    def strength(self) -> tuple[int, int]:
        """Greater is scheduled first: deadline, then real-time priority, then the others."""
        return (2 if self.policy == "deadline" else int(self.realtime), self.priority)

    def __str__(self) -> str:
        level = f"{self.policy} {self.priority}" if self.priority else self.policy
        return f"{self.name} ({self.tid}): {level}"


@dataclass(frozen=True, kw_only=True)
class VmView:
    """A QEMU process.

    Attributes:
        threads: all of its own, the main loop first.
        kernel_threads: of the kernel that work for it, such as ``vhost-PID`` and ``kvm-pit/PID``.
        status: /proc/PID/status by key.
    """

    host: HostView
    pid: int
    options: tuple[Option, ...]
    threads: tuple[VmThread, ...]
    kernel_threads: tuple[VmThread, ...]
    status: Mapping[str, str]

    def all(self, name: str) -> Iterator[Option]:
        """All options of a name."""
        return (option for option in self.options if option.name == name)

    def value(self, name: str, key: str) -> str:
        """The last value that options of a name give to a key, or ""."""
        found = [option.keys[key] for option in self.all(name) if key in option.keys]
        return found[-1] if found else ""

    def devices(self, *starts: str) -> list[Option]:
        """Devices whose driver begins with one of these."""
        return [option for option in self.all("device") if option.driver.startswith(starts)]

    @property
    def main(self) -> VmThread:
        """QEMU's main loop."""
        return self.threads[0]

    @cached_property
    def vcpus(self) -> tuple[VmThread, ...]:
        """Threads of virtual CPUs; they have names since QEMU's debug-threads=on."""
        return tuple(one for one in self.threads if _VCPU.fullmatch(one.name))

    @property
    def named(self) -> bool:
        """Whether threads can be told apart."""
        return bool(self.vcpus)

    @cached_property
    def vhost(self) -> tuple[VmThread, ...]:
        """Workers of vhost: of QEMU since Linux 6.4, of the kernel before."""
        every = (*self.threads, *self.kernel_threads)
        return tuple(one for one in every if one.name.startswith("vhost-"))

    @property
    def kvm(self) -> bool:
        """Whether the guest runs under KVM."""
        if self.vcpus:
            return any(one.name.endswith("/KVM") for one in self.vcpus)
        asked = f"{self.value('machine', 'accel')} {' '.join(o.first for o in self.all('accel'))}"
        return "kvm" in asked or any(True for _ in self.all("enable-kvm"))


def look_at(host: HostView, pid: int) -> VmView:
    """The QEMU with this process id.

    Raises:
        UsageError: there is no such process, it is no QEMU, or it may not be looked at.
    """
    raw = host.read(f"/proc/{pid}/cmdline")
    if raw is None:
        raise UsageError(f"there is no process {pid}", hint="pgrep -a qemu lists running ones")
    argv = raw.removesuffix("\0").split("\0")
    program = argv[0].rpartition("/")[2]
    if "qemu" not in program and "kvm" not in program:
        raise UsageError(
            f"process {pid} is {program or 'a thread of the kernel'}, not QEMU",
            hint="pgrep -a qemu lists running ones",
        )
    threads = tuple(_threads(host, f"/proc/{pid}/task/[0-9]*"))
    if not threads:
        raise UsageError(f"process {pid} has ended", hint="pgrep -a qemu lists running ones")
    lines = (line.partition(":") for line in (host.read(f"/proc/{pid}/status") or "").splitlines())
    return VmView(
        host=host,
        pid=pid,
        options=parse(argv),
        threads=tuple(sorted(threads, key=lambda one: (one.tid != pid, one.tid))),
        kernel_threads=tuple(_kernel_threads(host, pid)),
        status={key: value.strip() for key, _, value in lines},
    )


def _kernel_threads(host: HostView, pid: int) -> Iterator[VmThread]:
    names = {f"vhost-{pid}", f"kvm-pit/{pid}", f"kvm-nx-lpage-recovery-{pid}"}
    short = {name[:15] for name in names}
    for path in host.tree.match("/proc/[0-9]*/comm"):
        if (host.read(path) or "") in short | names:
            place = path.rpartition("/")[0]
            stat = (host.read(f"{place}/stat") or "").rpartition(")")[2].split()
            if stat[_PARENT : _PARENT + 1] == [_KTHREADD]:
                yield from _threads(host, place)


def _threads(host: HostView, pattern: str) -> Iterator[VmThread]:
    for path in host.tree.match(pattern):
        stat = host.read(f"{path}/stat") or ""
        name, _, rest = stat.partition("(")[2].rpartition(")")
        fields = rest.split()
        if len(fields) > _POLICY:
            yield VmThread(
                tid=int(path.rpartition("/")[2]),
                name=name,
                policy=_POLICIES.get(int(fields[_POLICY]), fields[_POLICY]),
                priority=int(fields[_PRIORITY]),
                cpus=_allowed(host.read(f"{path}/status") or ""),
                minor_faults=int(fields[_MINFLT]),
            )


def _allowed(status: str) -> frozenset[int]:
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key == "Cpus_allowed_list":
            return cpu_set(value.strip())
    return frozenset()
