"""What every knob can do.

A knob says what it wants, in one or more of five places; the `Tuner` does it, reads it back and
takes it back.  In the order of application: the scenario's devices and kernel, the host before
QEMU starts, QEMU's command line, QEMU's threads once the guest has booted, and the guest's own
settings.
Priorities come only after boot: a real-time vCPU on the CPU of QEMU's main loop would never boot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import Thread
from vmjitter.model.plan import Accel, Scenario
from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.change import Change
from vmjitter.tuning.media.file import chosen, read_only, same_value
from vmjitter.tuning.media.thread import thread_place


class Needs(StrEnum):
    """What has to start again for a change to take effect."""

    NOTHING = "nothing"
    QEMU = "QEMU"
    MODULE = "the module kvm, and so every guest"
    GUEST = "the guest"
    HOST = "the host"


@dataclass(frozen=True, kw_only=True)
class Host:
    """The machine that QEMU runs on, as a knob sees it.

    Attributes:
        guest_cpus: CPUs for QEMU's virtual CPUs.
        other_cpus: CPUs for everything else; the same ones if there are no others.
        accel: how QEMU will run the guest's instructions.
        guest_bytes: memory of the guest.
        vcpus: how many virtual CPUs it has; 0 if that is not known.
        direct: the file system of the disk image can bypass the page cache (O_DIRECT in open(2)).
    """

    tree: SysTree = field(default_factory=SysTree)
    guest_cpus: frozenset[int]
    other_cpus: frozenset[int]
    accel: Accel = Accel.KVM
    guest_bytes: int = 0
    vcpus: int = 0
    direct: bool = True

    @property
    def shared(self) -> bool:
        """Whether the guest has no CPU of its own."""
        return bool(self.guest_cpus & self.other_cpus)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running QEMU.

    Attributes:
        threads: all of its threads, those that serve vhost included.
        vcpus: of its virtual CPUs, in their order.
        iothreads: that serve a device each.
        kernel_threads: threads of the kernel that work for it, such as ``vhost-PID`` before
            Linux 6.4 and ``kvm-pit/PID``.
        storage: of the process that serves the disk, if that is not QEMU itself.
    """

    host: Host
    pid: int
    threads: tuple[Thread, ...]
    vcpus: tuple[Thread, ...] = ()
    iothreads: tuple[Thread, ...] = ()
    kernel_threads: tuple[Thread, ...] = ()
    storage: tuple[Thread, ...] = ()

    @property
    def vhost(self) -> tuple[Thread, ...]:
        """The threads that serve vhost: of QEMU since Linux 6.4, of the kernel before."""
        every = (*self.threads, *self.kernel_threads)
        return tuple(one for one in every if one.name.startswith("vhost-"))


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One setting; its members say nothing unless a knob overrides them.

    Attributes:
        name: as plans and reports write it.
        effect: what it changes, a clause without a full stop.
        needs: what has to start again; vmjitter does that itself for QEMU and its guest.
        worth: what it is said to bring, with the source.
        risk: what it may cost or break; empty if nothing is known.
        undo: how the previous state comes back.
        drivers: what the guest's image needs for it: keys of `guest.modules.DEVICE_MODULES`.
    """

    name: str
    effect: str
    needs: Needs = Needs.NOTHING
    worth: str = ""
    risk: str = ""
    undo: str = "the value that was there before is written back, also after SIGKILL"
    drivers: tuple[str, ...] = ()

    @property
    def real_time(self) -> bool:
        """Whether it makes threads real-time, which could starve the host: under a watchdog."""
        return False

    def missing(self, host: Host) -> str:  # noqa: ARG002
        """Why it cannot be used on this host; empty if it can."""
        return ""

    def on_scenario(self, scenario: Scenario) -> Scenario:
        """The scenario with its devices, or the kernel of its guest, changed.

        Raises:
            UsageError: it cannot be changed like that.
        """
        return scenario

    def on_host(self, host: Host) -> tuple[Change, ...]:  # noqa: ARG002
        """What it wants of the host before QEMU starts."""
        return ()

    def on_machine(self, machine: Machine, host: Host) -> Machine:  # noqa: ARG002
        """The virtual machine with its command line changed."""
        return machine

    def on_threads(self, target: Target) -> tuple[Change, ...]:  # noqa: ARG002
        """What it wants of QEMU's threads once the guest has booted."""
        return ()

    def on_guest(self) -> tuple[Change, ...]:
        """What it wants of the guest's own settings; in the medium "guest-file"."""
        return ()


def device_missing(tree: SysTree, device: str, module: str) -> str:
    """Why a device file of the kernel cannot be used; empty if it can.

    Args:
        tree: of the machine.
        device: path of the file.
        module: the kernel's module that makes it.
    """
    if not tree.exists(device):
        return (
            f"{device} does not exist: load the module, modprobe {module}; into a container it "
            "must be passed"
        )
    if not tree.usable(device):
        return f"{device} cannot be opened: root can, or a member of the group that owns it"
    return ""


_NO_OWN_CPU: Final = (
    "the guest has no CPU of its own; give it one with guest.host_cpus, or --cpus, on a "
    "machine with at least one more"
)

Value = str | Callable[[Host], str]
"""A value, or how to find it for a host."""


@dataclass(frozen=True, kw_only=True)
class FileKnob(Knob):
    """A knob that is one or more files of the kernel.

    Attributes:
        files: pairs of a path, in which a star stands for any name, and the value.
        absent: why there may be no such file.
        optional: the kernel may refuse some of them.
        unsupported: what the file holds where it cannot be set.
        enough: what the file may hold as well, to the same effect.
        needs_own_cpu: without a CPU that is the guest's own there is no elsewhere.
    """

    files: tuple[tuple[str, Value], ...]
    absent: str
    optional: bool = False
    unsupported: tuple[str, ...] = ()
    enough: tuple[str, ...] = ()
    needs_own_cpu: bool = False

    def missing(self, host: Host) -> str:
        """See `Knob.missing`; what is set already need not be writable."""
        if self.needs_own_cpu and host.shared:
            return _NO_OWN_CPU
        places = self._places(host)
        if not places:
            return f"{self.files[0][0]} does not exist: {self.absent}"
        why = [self._refusal(host.tree, change) for change in places]
        refusals = [one for one in why if one]
        return refusals[0] if refusals and not (self.optional and len(refusals) < len(why)) else ""

    def on_host(self, host: Host) -> tuple[Change, ...]:
        """See `Knob.on_host`."""
        return tuple(
            change
            for change in self._places(host)
            if chosen(host.tree.read(change.place) or "") not in self.enough
        )

    def _places(self, host: Host) -> tuple[Change, ...]:
        return tuple(
            Change(
                medium="file",
                place=path,
                wanted=value if isinstance(value, str) else value(host),
                optional=self.optional,
            )
            for pattern, value in self.files
            for path in host.tree.match(pattern)
        )

    def _refusal(self, tree: SysTree, change: Change) -> str:
        found = chosen(tree.read(change.place) or "")
        if found in self.unsupported:
            return f"{change.place} is {found!r}: this machine has no such thing"
        if found in self.enough or same_value(found, change.wanted):
            return ""
        if read_only(tree, change.place):
            return f"{change.place} is {found}, and read-only in this kernel"
        if not tree.usable(change.place):
            return f"{change.place} cannot be written to; root can, outside of a container"
        return ""


@dataclass(frozen=True, kw_only=True)
class LaunchKnob(Knob):
    """A knob that changes how QEMU is started.

    Attributes:
        shape: the virtual machine, changed; raises `MissingCapability` if it cannot be.
        needs_kvm: without KVM there is nothing to change.
    """

    shape: Callable[[Machine], Machine]
    needs_kvm: bool = False
    needs: Needs = Needs.QEMU
    undo: str = "ends with QEMU"

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        if not self.needs_kvm:
            return ""
        if host.accel is not Accel.KVM:
            return "the guest does not run under KVM"
        return device_missing(host.tree, "/dev/kvm", "kvm_intel or kvm_amd")

    def on_machine(self, machine: Machine, host: Host) -> Machine:  # noqa: ARG002
        """See `Knob.on_machine`."""
        return self.shape(machine)


@dataclass(frozen=True, kw_only=True)
class DeviceKnob(Knob):
    """A knob that changes the scenario's devices, or the kernel of its guest.

    Attributes:
        devices: the scenario, changed.
    """

    devices: Callable[[Scenario], Scenario]
    needs: Needs = Needs.QEMU
    undo: str = "ends with QEMU"

    def on_scenario(self, scenario: Scenario) -> Scenario:
        """See `Knob.on_scenario`."""
        return self.devices(scenario)


@dataclass(frozen=True, kw_only=True)
class GuestKnob(Knob):
    """A knob that is one or more files of the guest's kernel.

    Attributes:
        files: pairs of a path, in which a star stands for any name, and the value.
        optional: the guest's kernel may refuse some of them.
        needs_vcpus: how many virtual CPUs the guest must have.
    """

    files: tuple[tuple[str, str], ...]
    optional: bool = False
    needs_vcpus: int = 1
    undo: str = "ends with the guest"

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        if 0 < host.vcpus < self.needs_vcpus:
            return (
                f"the guest has {host.vcpus} virtual CPU, and this takes {self.needs_vcpus}: set "
                f"guest.vcpus = {self.needs_vcpus}"
            )
        return ""

    def on_guest(self) -> tuple[Change, ...]:
        """See `Knob.on_guest`."""
        return tuple(
            Change(medium="guest-file", place=path, wanted=value, optional=self.optional)
            for path, value in self.files
        )


@dataclass(frozen=True, kw_only=True)
class ModuleKnob(Knob):
    """A knob that is an option of a module, which is read when the module is loaded.

    Attributes:
        module: its name.
        parameter: name of the option.
        value: as in ``modprobe.d``.
        reads: what the file under /sys shows when it is in force.
    """

    module: str
    parameter: str
    value: str
    reads: str
    needs: Needs = Needs.MODULE
    undo: str = "the file is removed, also after a restart; then the module is loaded again"

    def missing(self, host: Host) -> str:
        """See `Knob.missing`: it is there only if it is in force already."""
        path = f"/sys/module/{self.module}/parameters/{self.parameter}"
        found = host.tree.read(path)
        if found is None:
            return f"{path} does not exist: the module {self.module} is not loaded, or too old"
        if found != self.reads and self._built_in(host):
            return (
                f"{path} is {found}, and {self.module} is part of the kernel: start the host with "
                f"{self.module}.{self.parameter}={self.value} on the kernel's command line"
            )
        if found != self.reads:
            return (
                f"{path} is {found}, and is read only when the module is loaded: "
                f"`vmjitter tune apply {self.name}`, then load {self.module} again or restart"
            )
        return ""

    def on_host(self, host: Host) -> tuple[Change, ...]:
        """See `Knob.on_host`; only where it is not in force yet."""
        path = f"/sys/module/{self.module}/parameters/{self.parameter}"
        if host.tree.read(path) == self.reads or self._built_in(host):
            return ()
        text = f"options {self.module} {self.parameter}={self.value}\n"
        place = f"/etc/modprobe.d/vmjitter-{self.name}.conf"
        return (Change(medium="drop-in", place=place, wanted=text),)

    def _built_in(self, host: Host) -> bool:
        """Only what was loaded has a state (Documentation/ABI/testing/sysfs-module)."""
        directory = f"/sys/module/{self.module}"
        return host.tree.exists(directory) and not host.tree.exists(f"{directory}/initstate")


@dataclass(frozen=True, kw_only=True)
class ThreadKnob(Knob):
    """A knob that sets policy or CPUs of some of QEMU's threads.

    Attributes:
        medium: "policy" or "cpus".
        choose: the threads and the value of each.
        needs_own_cpu: it would starve QEMU's main loop, or itself, on a shared CPU.
        device: without this file there are no such threads; empty if there always are.
        module: the kernel's module that makes it.
    """

    medium: str
    choose: Callable[[Target], Iterable[tuple[Thread, str]]]
    needs_own_cpu: bool = True
    device: str = ""
    module: str = ""
    undo: str = "each thread gets back what it had; one that has ended needs nothing"

    @property
    def real_time(self) -> bool:
        """See `Knob.real_time`."""
        return self.medium == "policy"

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        if self.needs_own_cpu and host.shared:
            return _NO_OWN_CPU
        return device_missing(host.tree, self.device, self.module) if self.device else ""

    def on_threads(self, target: Target) -> tuple[Change, ...]:
        """See `Knob.on_threads`."""
        return tuple(
            Change(
                medium=self.medium,
                place=thread_place(one),
                wanted=value,
                title=f"{one.name} ({one.tid})",
            )
            for one, value in self.choose(target)
        )
