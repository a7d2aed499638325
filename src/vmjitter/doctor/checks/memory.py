"""Memory that moves, merges or goes away under a guest."""

from __future__ import annotations

import re
from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok, warning
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

_KSM: Final = "/sys/kernel/mm/ksm/run"
_THP: Final = "/sys/kernel/mm/transparent_hugepage/enabled"
_NUMA: Final = "/proc/sys/kernel/numa_balancing"
_SWAPPINESS: Final = "/proc/sys/vm/swappiness"
_GIB: Final = 1 << 30


def _ksm(view: HostView) -> Answer:
    if view.read(_KSM) is None:
        return None
    if view.read(_KSM) == "1":
        return warning("Memory of guests is scanned and merged", view.show(_KSM))
    return ok("Memory is not merged", view.show(_KSM))


def _numa(view: HostView) -> Answer:
    mode = view.number(_NUMA)
    if mode is None:
        return None
    nodes = view.read("/sys/devices/system/node/online") or "0"
    evidence = f"{view.show(_NUMA)}; /sys/devices/system/node/online = {nodes}"
    if not mode:
        return ok("Memory is not unmapped to find out who uses it", evidence)
    if nodes == "0":
        return note("NUMA balancing is on, though there is one node only", evidence)
    return warning("Memory is unmapped to find out who uses it", evidence)


def _thp(view: HostView) -> Answer:
    text = view.read(_THP)
    chosen = re.search(r"\[(\w+)\]", text or "")
    if chosen is None:
        return None
    if chosen[1] == "always":
        return note("Memory is joined to huge pages behind a guest's back", view.show(_THP))
    return ok("Memory is joined to huge pages on request only, or never", view.show(_THP))


def _swap(view: HostView) -> Answer:
    lines = (view.read("/proc/swaps") or "").splitlines()[1:]
    if not lines:
        return ok("There is no swap space", "/proc/swaps lists none")
    names = ", ".join(line.split()[0] for line in lines)
    return note(
        "A guest's memory can be swapped out",
        f"/proc/swaps: {names}; {view.show(_SWAPPINESS)}",
    )


def _huge_pages(view: HostView) -> Answer:
    pools = view.tree.match("/sys/kernel/mm/hugepages/hugepages-*kB/nr_hugepages")
    if not pools:
        return None
    found = [path for path in pools if (view.number(path) or 0) > 0]
    if found:
        return ok("There are huge pages for guests", ", ".join(view.show(path) for path in found))
    return note("No huge pages are set aside for guests", ", ".join(map(view.show, pools)))


def _lockable(view: HostView) -> Answer:
    limit = view.facts.memlock_bytes
    if limit is None:
        return None
    evidence = f"getrlimit(RLIMIT_MEMLOCK) = {'unlimited' if limit < 0 else limit}"
    if view.facts.root or limit < 0 or limit > _GIB:
        return ok("QEMU may lock a guest's memory", evidence + (", root" * view.facts.root))
    return note("We may not lock enough memory for a guest", evidence)


CHECKS: Final = (
    Check[HostView](
        id="swap",
        asks="Can a guest's memory be swapped out?",
        reads=("/proc/swaps", _SWAPPINESS),
        cost="the first access after a quiet time waits for the disk: milliseconds and more",
        cure="start QEMU with -overcommit mem-lock=on, or swapoff -a",
        source="qemu(1), -overcommit; shakenfist issue 3920",
        knob="mem-lock",
        look=_swap,
    ),
    Check[HostView](
        id="memory-lock-limit",
        asks="May QEMU lock a guest's memory?",
        reads=("getrlimit(RLIMIT_MEMLOCK)",),
        cost="-overcommit mem-lock=on is refused",
        cure="ulimit -l unlimited, LimitMEMLOCK= in a unit of systemd, or <locked/> of libvirt",
        source="qemu(1), -overcommit; mlock(2)",
        needs=Needs.QEMU,
        look=_lockable,
    ),
    Check[HostView](
        id="page-merging",
        asks="Does KSM merge the memory of guests?",
        reads=(_KSM,),
        cost="a write to a merged page faults and copies it; a thread scans all the time",
        cure=f"echo 2 > {_KSM}",
        source="Documentation/admin-guide/mm/ksm.rst; tuned, profile realtime-virtual-host",
        knob="ksm-off",
        look=_ksm,
    ),
    Check[HostView](
        id="numa-balancing",
        asks="Does the kernel unmap memory to see who uses it?",
        reads=(_NUMA, "/sys/devices/system/node/online"),
        cost="thousands of invalidations of a guest's memory per second, each interrupts its vCPUs",
        cure="sysctl -w kernel.numa_balancing=0",
        source="cloud-hypervisor issue 7574; Documentation/admin-guide/sysctl/kernel.rst",
        knob="numa-balancing-off",
        look=_numa,
    ),
    Check[HostView](
        id="transparent-huge-pages",
        asks="Does the kernel join pages behind a guest's back?",
        reads=(_THP,),
        cost="khugepaged unmaps and moves a guest's memory while it runs",
        cure=f"echo never > {_THP}; give guests huge pages of their own",
        source="Documentation/admin-guide/mm/transhuge.rst; tuned, profile network-latency",
        knob="thp-never",
        look=_thp,
    ),
    Check[HostView](
        id="huge-pages",
        asks="Are huge pages set aside for guests?",
        reads=("/sys/kernel/mm/hugepages/*/nr_hugepages",),
        cost="more misses of the TLB, and faults on first use: a burst of writes took 1.1 s with "
        "30 000 of them",
        cure="boot with hugepagesz=1G hugepages=N, or echo N > "
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages; QEMU: memory-backend-memfd,"
        "hugetlb=on,prealloc=on",
        source="libvirt knowledge base, KVM real time; vm0 issue 32475",
        knob="huge-pages",
        look=_huge_pages,
    ),
)
