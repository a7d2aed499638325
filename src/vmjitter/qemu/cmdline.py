"""QEMU's command line, as a pure function of what a scenario asks for.

Option names and values follow qemu(1); `Resources` carries the descriptors that QEMU inherits,
so that no socket, memory file or disk image needs a name that could be left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vmjitter.model.plan import Accel, Disk, Network

GUEST_MAC = "52:54:00:76:6d:6a"
USER_NET = ("10.0.2.0/24", "10.0.2.2", "10.0.2.15")
"""Network, host and guest address of QEMU's user-mode network (qemu(1), -netdev user)."""


class Console(StrEnum):
    """Where the messages of the guest's kernel go.

    SERIAL is an emulated port, with an exit for every byte.  VIRTIO is the device virtio-console;
    the serial port is there for the messages before its driver, and goes to the same file.  With
    NONE there is no port, and they go nowhere.
    """

    SERIAL = "serial"
    VIRTIO = "virtio"
    NONE = "none"


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
        aio: how the disk image is accessed: "threads", "native" or "io_uring".
        cache: "none" to bypass the host's page cache, "writeback" to go through it; "" bypasses it
            wherever the image's file system can.
        vhost_user_blk: a process of its own serves the disk; virtio only.
        console: the device that ``console=`` in ``append`` names.
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
    cache: str = ""
    vhost_user_blk: bool = False
    console: Console = Console.SERIAL


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
        storage_fd: its end of the socket to the process that serves the disk, or None.
        cpus: host CPUs that it may use; empty means any.
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
    storage_fd: int | None = None
    cpus: frozenset[int] = frozenset()


def qemu_argv(program: str, machine: Machine, resources: Resources) -> tuple[str, ...]:
    """The complete argument list, program first."""
    return (
        program,
        *_base(machine),
        *_boot(machine),
        *_channels(machine, resources),
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
    if not (machine.prealloc or machine.huge_page_bytes or machine.vhost_user_blk):
        return ("-m", size)
    # whoever else serves the disk reads and writes the guest's memory directly
    share = "on" if machine.vhost_user_blk else "off"
    words = [f"memory-backend-memfd,id=ram,size={size},share={share}"]
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


def _channels(machine: Machine, resources: Resources) -> tuple[str, ...]:
    return (
        *_console(machine.console, resources.console_log),
        *("-chardev", f"socket,id=bell,fd={resources.bell_fd}"),
        # always the second port, also where there is no first one: what "-serial none" before
        # another -serial means has changed (QEMU commit d2019a9d0c34, "system/vl.c: Fix handling
        # of '-serial none -serial something'")
        *("-device", "isa-serial,index=1,chardev=bell"),
        *("-chardev", f"socket,id=qmp,fd={resources.qmp_fd}"),
        *("-mon", "chardev=qmp,mode=control"),
        *_second_monitor(resources.inject_fd),
    )


def _console(kind: Console, log: Path) -> tuple[str, ...]:
    file = f"file,id=console,path={_escape(str(log))}"
    if kind is Console.NONE:
        return ("-serial", "none")
    if kind is Console.SERIAL:
        return ("-chardev", file, "-serial", "chardev:console")
    return (
        # one file for both devices
        *("-chardev", f"{file},mux=on", "-serial", "chardev:console"),
        *("-device", "virtio-serial-pci,max_ports=1", "-device", "virtconsole,chardev=console"),
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
    if machine.vhost_user_blk and resources.storage_fd is not None:
        return (
            *("-chardev", f"socket,id=storage,fd={resources.storage_fd}"),
            *("-device", f"vhost-user-blk-pci,chardev=storage,num-queues={machine.vcpus}"),
        )
    device = {Disk.IDE: "ide-hd,bus=ide.0", Disk.VIRTIO: "virtio-blk-pci"}[machine.disk]
    nodes = block_nodes(machine, resources.scratch_path, direct=resources.direct)
    iothread = machine.iothread and machine.disk is Disk.VIRTIO
    device += ",iothread=io0" if iothread else ""
    return (
        # without polling: on few CPUs it would take time from others
        *(("-object", "iothread,id=io0,poll-max-ns=0") if iothread else ()),
        *(word for node in nodes for word in ("-blockdev", node)),
        *("-device", f"{device},drive=scratch"),
    )


def block_nodes(machine: Machine, image: str, *, direct: bool) -> tuple[str, str]:
    """Values of --blockdev for a raw image, for QEMU and qemu-storage-daemon alike.

    Args:
        machine: gives cache mode and AIO.
        image: its path.
        direct: its file system can bypass the page cache.
    """
    direct = direct and machine.cache != "writeback"
    cache = "on" if direct else "off"
    # QEMU's native AIO works with O_DIRECT only
    aio = "threads" if machine.aio == "native" and not direct else machine.aio
    return (
        f"driver=file,node-name=file0,filename={_escape(image)},cache.direct={cache},aio={aio}",
        f"driver=raw,node-name=scratch,file=file0,cache.direct={cache}",
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
