"""The paths of a guest's disk and network through the host."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok
from vmjitter.doctor.view import HostView

_URING: Final = "/proc/sys/kernel/io_uring_disabled"
_TASK_SINCE: Final = (6, 4, 0)


def _vhost(view: HostView) -> Answer:
    if view.tree.exists("/dev/vhost-net"):
        return ok("The kernel can move a guest's packets", "/dev/vhost-net exists")
    if view.built("CONFIG_VHOST_NET") is False:
        return note(
            "The kernel cannot move a guest's packets",
            "CONFIG_VHOST_NET is not set",
            cure="install a kernel with CONFIG_VHOST_NET, or use vhost-user (passt, DPDK)",
        )
    return note("The kernel does not move guests' packets", "/dev/vhost-net does not exist")


def vhost_form(view: HostView) -> str:
    """Where vhost's worker is: "a task of QEMU" or "a thread of the kernel"; "" if unknown.

    Since Linux 6.4 it is a task; CONFIG_VHOST_ENABLE_FORK_OWNER_CONTROL lets each user choose.
    """
    if view.version is None:
        return ""
    return "a task of QEMU" if view.version >= _TASK_SINCE else "a thread of the kernel"


def _worker(view: HostView) -> Answer:
    if not view.tree.exists("/dev/vhost-net"):
        return None
    form = vhost_form(view)
    if not form:
        return Unseen(why="/proc/sys/kernel/osrelease cannot be read")
    evidence = view.shown_release
    if view.built("CONFIG_VHOST_ENABLE_FORK_OWNER_CONTROL"):
        evidence += ", CONFIG_VHOST_ENABLE_FORK_OWNER_CONTROL=y: either form is possible"
    if view.version is not None and view.version >= _TASK_SINCE:
        return note(f"vhost's worker is {form}", evidence)
    return ok(f"vhost's worker is {form}", evidence)


def _tun(view: HostView) -> Answer:
    if view.tree.exists("/dev/net/tun"):
        return ok("A guest can have a tap device", "/dev/net/tun exists")
    return note("A guest cannot have a tap device", "/dev/net/tun does not exist")


def _uring(view: HostView) -> Answer:
    value = view.number(_URING)
    if value is None:
        return None
    if value == 0:
        return ok("QEMU may use io_uring", view.show(_URING))
    return note("QEMU may not use io_uring", view.show(_URING))


CHECKS: Final = (
    Check[HostView](
        id="vhost-net",
        asks="Can the kernel move a guest's packets?",
        reads=("/dev/vhost-net", "the kernel's configuration"),
        cost="each packet goes through QEMU's main loop; in one report 175 instead of 580 MB/s",
        cure="modprobe vhost_net",
        source="the paper's mitigations; microvm.nix issue 463",
        look=_vhost,
    ),
    Check[HostView](
        id="vhost-worker",
        asks="Where do tools find vhost's worker?",
        reads=("/proc/sys/kernel/osrelease", "the kernel's configuration"),
        cost="tools that look for a thread of the kernel do not find it, so it keeps an ordinary "
        "priority and the CPUs of the thread that made it",
        cure="look in /proc/QEMU/task for vhost-*, after each start; vmjitter looks in both places",
        source="spdk issue 3482; SEAPATH issue 808",
        knob="vhost-fifo",
        look=_worker,
    ),
    Check[HostView](
        id="tap",
        asks="Can a guest have a tap device?",
        reads=("/dev/net/tun",),
        cost="packets pass through QEMU's user-mode network, and vhost-net cannot be used",
        cure="modprobe tun",
        source="Documentation/networking/tuntap.rst",
        look=_tun,
    ),
    Check[HostView](
        id="io-uring",
        asks="May QEMU use io_uring?",
        reads=(_URING,),
        cost="a hand-over between threads for each request of the disk (aio=threads)",
        cure="sysctl -w kernel.io_uring_disabled=0, or use aio=native with cache.direct=on",
        source="Documentation/admin-guide/sysctl/kernel.rst, io_uring_disabled",
        look=_uring,
    ),
)
