"""QEMU's command line, as a pure function of what a scenario asks for.

Option names and values follow qemu(1); `Resources` carries the descriptors that QEMU inherits,
so that no socket, memory file or disk image needs a name that could be left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vmjitter.model.plan import Accel, Disk, Network

GUEST_MAC = "52:54:00:76:6d:6a"
USER_NET = ("10.0.2.0/24", "10.0.2.2", "10.0.2.15")
"""Network, host and guest address of QEMU's user-mode network (qemu(1), -netdev user)."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The virtual machine to start.  Paths are on the host, sizes in bytes.

    Attributes:
        cpu_flags: of the CPU model, e.g. "+invtsc" or "pmu=off".
        overcommit: words of ``-overcommit``, e.g. "cpu-pm=on".
        globals: words of ``-global``, one each.
        machine: further words of ``-machine``.
        prealloc: touch all of the guest's memory at the start.
        huge_page_bytes: size of the pages that back it; 0 for ordinary ones.
        iothread: a thread of its own serves the disk; virtio only.
        aio: how QEMU accesses the disk image: "threads", "native" or "io_uring".
    """

    accel: Accel
    kernel: Path
    initramfs: Path
    append: str
    memory_bytes: int
    vcpus: int
    disk: Disk
    network: Network
    vhost: bool
    icount_shift: int | None = None
    cpu_flags: tuple[str, ...] = ()
    overcommit: tuple[str, ...] = ()
    globals: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()
    prealloc: bool = False
    huge_page_bytes: int = 0
    iothread: bool = False
    aio: str = "threads"


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the QEMU process inherits or writes.

    Attributes:
        qmp_fd: its end of the QMP socket pair.
        bell_fd: its end of the pair behind the guest's second serial port.
        shm_path: backing file of the shared memory, ``shm_bytes`` long (a power of two).
        scratch_path: raw disk image, or None without a disk.
        direct: the image's file system can bypass the page cache.
        tap_fd: tap device; None means QEMU's user-mode network.
        vhost_fd: an open /dev/vhost-net; only with ``tap_fd``.
        trace_log: where QEMU writes the trace events that are switched on later, or None.
        inject_fd: its end of a pair behind a second monitor, for disturbances, or None.
    """

    console_log: Path
    qmp_fd: int
    bell_fd: int
    shm_path: str
    shm_bytes: int
    scratch_path: str | None
    direct: bool
    tap_fd: int | None
    vhost_fd: int | None
    trace_log: Path | None = None
    inject_fd: int | None = None


def qemu_argv(program: str, machine: Machine, resources: Resources) -> tuple[str, ...]:
    """The complete argument list, program first."""
    return (
        program,
        *_base(machine),
        *_boot(machine),
        *_channels(resources),
        *_shared_memory(resources),
        *_disk(machine, resources),
        *_network(machine, resources),
        *_tracing(resources),
    )


def _base(machine: Machine) -> tuple[str, ...]:
    cpu = "host" if machine.accel is Accel.KVM else "max"
    return (
        *("-name", "vmjitter,debug-threads=on"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        # i440fx, the machine of the paper's QEMU; USB would add a timer of its own
        *("-machine", ",".join((f"pc,accel={machine.accel.value},usb=off", *machine.machine))),
        *("-cpu", ",".join((cpu, *machine.cpu_flags)), "-smp", str(machine.vcpus)),
        *_memory(machine),
        *(word for each in machine.overcommit for word in ("-overcommit", each)),
        *(word for each in machine.globals for word in ("-global", each)),
        *(
            ("-icount", f"shift={machine.icount_shift},sleep=off")
            if machine.icount_shift is not None
            else ()
        ),
    )


def _memory(machine: Machine) -> tuple[str, ...]:
    size = f"{machine.memory_bytes >> 20}M"
    if not (machine.prealloc or machine.huge_page_bytes):
        return ("-m", size)
    words = [f"memory-backend-memfd,id=ram,size={size},share=off"]
    words += ["prealloc=on"] if machine.prealloc else []
    if machine.huge_page_bytes:
        words += ["hugetlb=on", f"hugetlbsize={machine.huge_page_bytes >> 20}M"]
    return ("-m", size, "-object", ",".join(words), "-machine", "memory-backend=ram")


def _boot(machine: Machine) -> tuple[str, ...]:
    return (
        *("-kernel", str(machine.kernel)),
        *("-initrd", str(machine.initramfs)),
        *("-append", machine.append),
    )


def _channels(resources: Resources) -> tuple[str, ...]:
    return (
        *("-chardev", f"file,id=console,path={_escape(str(resources.console_log))}"),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=bell,fd={resources.bell_fd}"),
        *("-serial", "chardev:bell"),
        *("-chardev", f"socket,id=qmp,fd={resources.qmp_fd}"),
        *("-mon", "chardev=qmp,mode=control"),
        *_second_monitor(resources.inject_fd),
    )


def _second_monitor(fd: int | None) -> tuple[str, ...]:
    if fd is None:
        return ()
    return ("-chardev", f"socket,id=inject,fd={fd}", "-mon", "chardev=inject,mode=control")


def _shared_memory(resources: Resources) -> tuple[str, ...]:
    backend = f"memory-backend-file,id=shm,size={resources.shm_bytes},share=on"
    return (
        *("-object", f"{backend},mem-path={_escape(resources.shm_path)}"),
        *("-device", "ivshmem-plain,memdev=shm,master=on"),
    )


def _disk(machine: Machine, resources: Resources) -> tuple[str, ...]:
    if machine.disk is Disk.NONE or resources.scratch_path is None:
        return ()
    device = {Disk.IDE: "ide-hd,bus=ide.0", Disk.VIRTIO: "virtio-blk-pci"}[machine.disk]
    direct = "on" if resources.direct else "off"
    # QEMU's native AIO works with O_DIRECT only
    aio = "threads" if machine.aio == "native" and not resources.direct else machine.aio
    file_node = (
        f"driver=file,node-name=file0,filename={_escape(resources.scratch_path)},"
        f"cache.direct={direct},aio={aio}"
    )
    iothread = machine.iothread and machine.disk is Disk.VIRTIO
    device += ",iothread=io0" if iothread else ""
    return (
        # without polling: on few CPUs it would take time from others
        *(("-object", "iothread,id=io0,poll-max-ns=0") if iothread else ()),
        *("-blockdev", file_node),
        *("-blockdev", f"driver=raw,node-name=scratch,file=file0,cache.direct={direct}"),
        *("-device", f"{device},drive=scratch"),
    )


def _network(machine: Machine, resources: Resources) -> tuple[str, ...]:
    if machine.network is Network.NONE:
        return ()
    device = {Network.E1000: "e1000", Network.VIRTIO: "virtio-net-pci"}[machine.network]
    return (
        *("-netdev", _netdev(machine, resources)),
        # romfile= : the PXE ROM would only lengthen the boot
        *("-device", f"{device},netdev=net0,mac={GUEST_MAC},romfile="),
    )


def _netdev(machine: Machine, resources: Resources) -> str:
    if resources.tap_fd is None:
        network, host, guest = USER_NET
        return f"user,id=net0,net={network},host={host},dhcpstart={guest},restrict=off"
    if machine.vhost and resources.vhost_fd is not None:
        return f"tap,id=net0,fd={resources.tap_fd},vhost=on,vhostfd={resources.vhost_fd}"
    return f"tap,id=net0,fd={resources.tap_fd},vhost=off"


def _tracing(resources: Resources) -> tuple[str, ...]:
    # the time stamps of trace events are switched by -msg, too (util/log.c and trace/control.c)
    log = resources.trace_log
    return ("-D", str(log), "-msg", "timestamp=on") if log is not None else ()


def _escape(value: str) -> str:
    """A comma in an option's value is written twice (qemu(1), "keyval")."""
    return value.replace(",", ",,")
