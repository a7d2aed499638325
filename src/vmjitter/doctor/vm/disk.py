"""The guest's disks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok, problem, warning
from vmjitter.doctor.vm.options import Option
from vmjitter.doctor.vm.view import VmView
from vmjitter.tuning.knob import Needs

_EMULATED: Final = ("ide-hd", "lsi", "megasas", "mptsas", "sdhci")
_VIRTIO: Final = ("virtio-blk", "virtio-scsi")
_OUTSIDE: Final = ("vhost-user-blk", "vhost-user-scsi", "vhost-scsi", "vhost-vdpa-device")
"""Devices whose requests QEMU only connects to who serves them (QEMU, hw/block/vhost-user-blk.c and
hw/scsi/vhost-*.c)."""
_LIMITS: Final = ("bps", "iops")
"""How all options begin that limit a disk, behind the prefix "throttling." or "limits." if they
have one (qemu(1), -drive; qapi/block-core.json, ThrottleLimits)."""


def _drives(view: VmView) -> Iterator[Option]:
    """Whatever accesses an image: -drive, and the -blockdev nodes next to it."""
    for option in view.options:
        if option.name == "drive" and option.keys.get("media") != "cdrom":
            if option.keys.get("if") != "pflash":
                yield option
        elif option.name == "blockdev":
            yield option


def _unseen(view: VmView) -> Unseen | None:
    """Of images that QEMU has not opened."""
    if not view.devices(*_OUTSIDE):
        return None
    return Unseen(why="QEMU does not serve the disk: look at the options of the process that does")


def _unsafe(view: VmView) -> Answer:
    drives = list(_drives(view))
    if not drives:
        return _unseen(view)
    for one in drives:
        if one.keys.get("cache") == "unsafe" or one.keys.get("cache.no-flush") == "on":
            return problem("A disk ignores the guest's flushes", str(one))
    return ok("Disks heed the guest's flushes", "; ".join(map(str, drives)))


def _cached(view: VmView) -> Answer:
    drives = [one for one in _drives(view) if _is_file(one)]
    if not drives:
        return _unseen(view)
    cached = [one for one in drives if not _direct(one)]
    if cached:
        return warning("A disk goes through the host's page cache", "; ".join(map(str, cached)))
    return ok("Disks bypass the host's page cache", "; ".join(map(str, drives)))


def _is_file(one: Option) -> bool:
    return one.name == "drive" or one.driver in {"file", "host_device"}


def _direct(one: Option) -> bool:
    cache = one.keys.get("cache", "")
    return cache in {"none", "directsync"} or one.keys.get("cache.direct") == "on"


def _device(view: VmView) -> Answer:
    emulated = view.devices(*_EMULATED)
    emulated += [o for o in view.all("drive") if o.keys.get("if") in {"ide", "scsi", "sd"}]
    if emulated:
        return problem("A disk is an emulated device", "; ".join(map(str, emulated)))
    found = view.devices(*_VIRTIO, *_OUTSIDE)
    if found:
        return ok("Disks are virtio devices", "; ".join(map(str, found)))
    return None


def _iothread(view: VmView) -> Answer:
    found = view.devices(*_VIRTIO)
    if not found:
        return None
    without = [o for o in found if "iothread" not in "".join(o.keys)]
    if without:
        return note("QEMU's main loop serves a disk", "; ".join(map(str, without)))
    return ok("Threads of their own serve the disks", "; ".join(map(str, found)))


def _process(view: VmView) -> Answer:
    outside = view.devices(*_OUTSIDE)
    if outside:
        ends = {o.keys["chardev"] for o in outside if "chardev" in o.keys}
        sockets = [o for o in view.all("chardev") if o.keys.get("id") in ends]
        evidence = "; ".join(map(str, [*outside, *sockets]))
        return ok("A disk is not served by QEMU", evidence)
    disks = view.devices(*_VIRTIO, *_EMULATED)
    disks += [o for o in _drives(view) if o.name == "drive" and o.keys.get("if") != "none"]
    if not disks:
        return None
    evidence = "; ".join(map(str, disks))
    if all("iothread" in "".join(o.keys) for o in disks):
        return ok("QEMU serves the disks, in threads of their own", evidence)
    return note("QEMU itself serves the disks, no process of its own", evidence)


def _throttled(view: VmView) -> Answer:
    groups = [o for o in view.all("object") if o.driver == "throttle-group"]
    nodes = [o for o in view.all("blockdev") if _throttles(o)]
    limited = [*groups, *nodes, *(o for o in view.all("drive") if _limits(o))]
    if limited:
        return note("A disk is throttled", "; ".join(map(str, limited)))
    if not any(True for _ in _drives(view)):
        return _unseen(view)
    return ok(
        "No disk is throttled by its options",
        "no throttle-group, no throttling.*; block_set_io_throttle over QMP cannot be seen here",
    )


def _throttles(one: Option) -> bool:
    return "throttle" in (value for key, value in one.keys.items() if key.endswith("driver")) or (
        one.driver == "throttle"
    )


def _limits(one: Option) -> bool:
    """A limit of 0 is none."""
    return any(
        key.removeprefix("throttling.").startswith(_LIMITS) and value != "0"
        for key, value in one.keys.items()
    )


def _polling(view: VmView) -> Answer:
    found = [o for o in view.all("object") if o.driver == "iothread"]
    if not found:
        return None
    polls = [o for o in found if o.keys.get("poll-max-ns") != "0"]
    busy = [o for o in polls if view.host.online and len(view.host.online) <= len(view.vcpus) + 1]
    if busy:
        return note("A disk's thread polls, on a host with few CPUs", "; ".join(map(str, busy)))
    return ok(
        "Polling of the disks' threads takes no CPU from the guest", "; ".join(map(str, found))
    )


def _format(view: VmView) -> Answer:
    drives = list(_drives(view))
    if not drives:
        return None
    layered = [
        o
        for o in drives
        if "qcow2" in (o.driver, o.keys.get("format")) or o.keys.get("file", "").endswith(".qcow2")
    ]
    if layered:
        return note("An image grows while the guest writes to it", "; ".join(map(str, layered)))
    return ok("Images do not grow", "; ".join(map(str, drives)))


CHECKS: Final = (
    Check[VmView](
        id="vm-disk-device",
        asks="Is a disk an emulated device?",
        reads=("/proc/PID/cmdline",),
        cost="the guest stands still while QEMU emulates each access to a register: with virtio, "
        "vhost-net and priorities the paper's worst case went from 100.55 to 10.97 ms",
        cure="-device virtio-blk-pci; bus='virtio' in libvirt",
        source="Ibe, Settsu, Ochiai: realtime evaluation of a guest OS on virtualization software",
        knob="virtio-disk",
        look=_device,
    ),
    Check[VmView](
        id="vm-disk-unsafe",
        asks="Does a disk ignore the guest's flushes?",
        reads=("/proc/PID/cmdline",),
        cost="dirty pages fill the host's memory, and the whole host's input and output stands "
        "still when they are written",
        cure="cache=none in place of cache=unsafe",
        source="neondatabase/autoscaling issue 775",
        needs=Needs.QEMU,
        look=_unsafe,
    ),
    Check[VmView](
        id="vm-disk-cache",
        asks="Does a disk go through the host's page cache?",
        reads=("/proc/PID/cmdline",),
        cost="writing back happens at any time, and disturbs the guest",
        cure="cache.direct=on; cache='none' in libvirt",
        source="RHEL, real-time guests; qemu(1), -blockdev",
        knob="cache-direct",
        look=_cached,
    ),
    Check[VmView](
        id="vm-disk-iothread",
        asks="Does a thread of its own serve each disk?",
        reads=("/proc/PID/cmdline",),
        cost="requests wait for QEMU's big lock, and the guest for them",
        cure="-object iothread,id=io0 -device virtio-blk-pci,iothread=io0; <iothreads> in libvirt",
        source="qemu(1), -object iothread",
        knob="iothread",
        look=_iothread,
    ),
    Check[VmView](
        id="vm-disk-process",
        asks="Does a process of its own serve a disk?",
        reads=("/proc/PID/cmdline",),
        cost="requests run in QEMU's threads and may wait for its lock; a process of its own has "
        "priority, CPUs and a control group of its own",
        cure="qemu-storage-daemon --export type=vhost-user-blk,... and -device vhost-user-blk-pci, "
        "with -object memory-backend-memfd,share=on",
        source="qemu-storage-daemon(1)",
        knob="vhost-user-blk",
        look=_process,
    ),
    Check[VmView](
        id="vm-disk-throttled",
        asks="Is a disk throttled?",
        reads=("/proc/PID/cmdline",),
        cost="what exceeds the limit waits in QEMU, and the guest for it; for a guest beside the "
        "real-time one it is a remedy: its queue at the host's disk stays short",
        cure="block_set_io_throttle over QMP, or virsh blkdeviotune, with 0 for no limit",
        source="QEMU, docs/throttle.txt",
        look=_throttled,
    ),
    Check[VmView](
        id="vm-disk-polling",
        asks="Does a disk's thread take a CPU by polling?",
        reads=("/proc/PID/cmdline",),
        cost="up to 32 us of a CPU's time for each wait",
        cure="-object iothread,poll-max-ns=0, or qom-set while it runs",
        source="qemu(1), -object iothread",
        look=_polling,
    ),
    Check[VmView](
        id="vm-disk-format",
        asks="Does an image grow while the guest writes?",
        reads=("/proc/PID/cmdline",),
        cost="metadata is written beside the data; on a slow disk a guest froze, all iowait",
        cure="qemu-img convert -O raw; an SSD; a smaller nr_requests of the host's disk",
        source="scylladb issue 3078; RHEL, real-time guests",
        needs=Needs.QEMU,
        look=_format,
    ),
)
