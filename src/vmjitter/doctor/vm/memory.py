"""The guest's memory on the host."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok, problem, warning
from vmjitter.doctor.vm.view import VmView
from vmjitter.tuning.knob import Needs

_BACKENDS: Final = ("memory-backend",)


def _kib(view: VmView, key: str) -> int:
    words = view.status.get(key, "0").split()
    return int(words[0]) if words and words[0].isdecimal() else 0


def _shown(view: VmView, *keys: str) -> str:
    return f"/proc/{view.pid}/status: " + ", ".join(
        f"{key} = {view.status[key]}" for key in keys if key in view.status
    )


def _swapped(view: VmView) -> Answer:
    evidence = _shown(view, "VmSwap", "VmLck")
    if _kib(view, "VmSwap"):
        return problem("Some of the guest's memory is swapped out", evidence)
    if _locked(view):
        return ok("The guest's memory is locked", evidence)
    if not (view.host.read("/proc/swaps") or "").splitlines()[1:]:
        return ok("Nothing is swapped out, and there is no swap space", evidence)
    return warning("The guest's memory can be swapped out", evidence)


def _locked(view: VmView) -> bool:
    return view.value("overcommit", "mem-lock") == "on" or _kib(view, "VmLck") > 0


def _touched(view: VmView) -> Answer:
    faults = sum(vcpu.minor_faults for vcpu in view.vcpus)
    evidence = f"minor faults of the vCPUs so far: {faults}" if view.named else "no prealloc=on"
    prealloc = [o for o in view.all("object") if o.keys.get("prealloc") == "on"]
    if prealloc or any(True for _ in view.all("mem-prealloc")):
        return ok("The guest's memory was touched before it started", evidence)
    if _locked(view):
        return ok("Locking touched the guest's memory before it started", evidence)
    return warning("The guest's first access to each page faults", evidence)


def _huge(view: VmView) -> Answer:
    paths = [o.keys.get("mem-path", "") for o in view.all("object")]
    paths += [o.text for o in view.all("mem-path")]
    objects = [o for o in view.all("object") if o.driver.startswith(_BACKENDS)]
    huge = any(o.keys.get("hugetlb") == "on" for o in objects)
    if huge or any("hugepages" in path for path in paths):
        return ok("The guest's memory is in huge pages", _shown(view, "HugetlbPages"))
    return note("The guest's memory is in ordinary pages", _shown(view, "HugetlbPages"))


def _merged(view: VmView) -> Answer:
    value = view.value("machine", "mem-merge")
    if value == "off":
        return ok("The guest's memory takes no part in merging", "-machine mem-merge=off")
    running = view.host.read("/sys/kernel/mm/ksm/run")
    if running != "1":
        return ok("Nothing is merged", f"/sys/kernel/mm/ksm/run = {running}")
    return warning("The guest's memory may be merged", "no -machine mem-merge=off")


def _balloon(view: VmView) -> Answer:
    found = view.devices("virtio-balloon")
    if not found:
        return ok("There is no balloon", "no -device virtio-balloon")
    if any(one.keys.get("free-page-reporting") == "on" for one in found):
        return problem(
            "The guest gives free pages back, and faults when it needs them again", str(found[0])
        )
    return note("There is a balloon", str(found[0]))


CHECKS: Final = (
    Check[VmView](
        id="vm-swap",
        asks="Is the guest's memory swapped out, or can it be?",
        reads=("VmSwap and VmLck in /proc/PID/status", "/proc/swaps"),
        cost="the first access waits for the disk: milliseconds and more",
        cure="-overcommit mem-lock=on; <locked/> in libvirt",
        source="qemu(1), -overcommit; shakenfist issue 3920",
        knob="mem-lock",
        look=_swapped,
    ),
    Check[VmView](
        id="vm-prealloc",
        asks="Was the guest's memory touched before it started?",
        reads=("/proc/PID/cmdline", "minor faults in /proc/PID/task/*/stat"),
        cost="an exit and a fault for each page: a burst of writes took 1.1 s with 30 000 of them",
        cure="-object memory-backend-memfd,prealloc=on,...; <allocation mode='immediate'/> in "
        "libvirt",
        source="vm0 issue 32475",
        knob="prealloc",
        look=_touched,
    ),
    Check[VmView](
        id="vm-huge-pages",
        asks="Is the guest's memory in huge pages?",
        reads=("/proc/PID/cmdline", "HugetlbPages in /proc/PID/status"),
        cost="more misses of the TLB and more second-level faults",
        cure="-object memory-backend-memfd,hugetlb=on,hugetlbsize=2M,prealloc=on,...; <hugepages/> "
        "in libvirt",
        source="libvirt knowledge base, KVM real time",
        knob="huge-pages",
        look=_huge,
    ),
    Check[VmView](
        id="vm-page-merging",
        asks="May the guest's memory be merged?",
        reads=("/proc/PID/cmdline", "/sys/kernel/mm/ksm/run"),
        cost="a write to a merged page faults and copies it",
        cure="-machine mem-merge=off; <nosharepages/> in libvirt",
        source="libvirt knowledge base, KVM real time",
        knob="mem-merge-off",
        look=_merged,
    ),
    Check[VmView](
        id="vm-balloon",
        asks="Can memory be taken from the guest, or given back by it?",
        reads=("/proc/PID/cmdline",),
        cost="pages fault again: free page reporting took an allocation from 505 to 1108 ms",
        cure="no -device virtio-balloon; <memballoon model='none'/> in libvirt",
        source="vm0 issue 34723; libvirt knowledge base, KVM real time",
        needs=Needs.QEMU,
        look=_balloon,
    ),
)
