"""The host as the checks see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from vmjitter.doctor.kernel_view import KernelView
from vmjitter.effects.systree import SysTree


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What no file says; None where nobody looked, or nobody may.

    Attributes:
        root: we may do everything.
        fifo_allowed: we have the right to be a real-time thread (CAP_SYS_NICE, or RLIMIT_RTPRIO).
        fifo_refused: how the kernel refused to make us one; empty if it did make us one.
        kvm_api: KVM's answer: empty if it made a virtual machine, else the reason.
        kvm_trial: why a guest did not start under KVM since this machine was started; empty if it
            did.
        qemu: version of QEMU; empty if it is not installed.
        dma_latency_us: the latency that idle CPUs may take, held by somebody.
        memlock_bytes: memory that we may lock; -1 for any.
    """

    root: bool = False
    fifo_allowed: bool = False
    fifo_refused: str | None = None
    kvm_api: str | None = None
    kvm_trial: str | None = None
    qemu: str | None = None
    dma_latency_us: int | None = None
    memlock_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Quota:
    """A limit on CPU time of a control group.

    Attributes:
        evidence: path and value.
        throttled: how often it has been enforced; None if that is not known.
    """

    evidence: str
    throttled: int | None


@dataclass(frozen=True, kw_only=True)
class HostView(KernelView):
    """The host's files, and the facts."""

    tree: SysTree
    facts: Facts = field(default_factory=Facts)

    @cached_property
    def virtual(self) -> bool:
        """Whether this host is itself a virtual machine."""
        return "hypervisor" in self.cpu_flags or self.tree.exists("/sys/hypervisor/type")

    @cached_property
    def isolated(self) -> frozenset[int]:
        """CPUs set aside with ``isolcpus`` (Documentation/ABI, sys/devices/system/cpu/isolated)."""
        return self.cpus("/sys/devices/system/cpu/isolated")

    @cached_property
    def commands(self) -> frozenset[str]:
        """Names of all running programs; the kernel cuts them to 15 bytes (proc_pid_comm(5))."""
        names = (self.read(path) for path in self.tree.match("/proc/[0-9]*/comm"))
        return frozenset(name for name in names if name)

    def quotas(self, pid: str = "self") -> tuple[Quota, ...]:
        """Limits on CPU time in a process's control group and all above it, both versions."""
        return tuple(self._quotas(pid))

    def _quotas(self, pid: str) -> Iterator[Quota]:
        for line in (self.read(f"/proc/{pid}/cgroup") or "").splitlines():
            number, controllers, group = (*line.split(":", 2), "", "")[:3]
            path = PurePosixPath(group)
            for one in (path, *path.parents):
                place = "" if str(one) == "/" else str(one)
                if number == "0":
                    yield from self._quota(f"/sys/fs/cgroup{place}", "cpu.max", "max")
                elif "cpu" in controllers.split(","):
                    for mount in ("cpu", "cpu,cpuacct"):
                        yield from self._quota(
                            f"/sys/fs/cgroup/{mount}{place}", "cpu.cfs_quota_us", "-1"
                        )

    def _quota(self, group: str, name: str, free: str) -> Iterator[Quota]:
        value = self.read(f"{group}/{name}")
        if value is not None and value.split()[:1] != [free]:
            counts = dict(
                line.split(maxsplit=1)
                for line in (self.read(f"{group}/cpu.stat") or "").splitlines()
                if " " in line
            )
            throttled = counts.get("nr_throttled", "").strip()
            yield Quota(
                evidence=f"{group}/{name} = {value}",
                throttled=int(throttled) if throttled.isdecimal() else None,
            )
