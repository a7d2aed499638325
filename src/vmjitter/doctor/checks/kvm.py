"""KVM: whether it is there, what it stands on, and whether a guest starts on it."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, blocker, note, ok, problem, warning
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

_KINDS: Final = {
    "kvm_intel": "VMX (Intel)",
    "kvm_amd": "SVM (AMD)",
    "kvm_pvm": "PVM (a guest kernel without hardware virtualization)",
}
_SECOND_LEVEL: Final = {
    "kvm_intel": "/sys/module/kvm_intel/parameters/ept",
    "kvm_amd": "/sys/module/kvm_amd/parameters/npt",
    "kvm_pvm": "/sys/module/kvm/parameters/tdp_mmu",
}
_POSTED: Final = {
    "kvm_intel": ("/sys/module/kvm_intel/parameters/enable_apicv", "enable_apicv"),
    "kvm_amd": ("/sys/module/kvm_amd/parameters/avic", "avic"),
}
_ON: Final = frozenset({"Y", "1"})


def module_of(view: HostView) -> str:
    """The module that KVM stands on; empty if none is loaded."""
    return next((name for name in _KINDS if view.tree.exists(f"/sys/module/{name}")), "")


def _device(view: HostView) -> Answer:
    if not view.tree.exists("/dev/kvm"):
        title = "There is no KVM"
        if view.virtual:
            return blocker(
                title,
                "/dev/kvm does not exist; the flag hypervisor in /proc/cpuinfo is set",
                cure="have nested virtualization enabled by whoever runs this virtual machine, "
                "or measure on bare metal; for function and structure: vmjitter run --bench sim",
            )
        return blocker(title, "/dev/kvm does not exist")
    if view.facts.kvm_api is None:
        return Unseen(why="only a running host can be asked to make a virtual machine")
    if view.facts.kvm_api:
        return blocker("KVM cannot be used", view.facts.kvm_api)
    return ok("KVM makes a virtual machine", "/dev/kvm: KVM_CREATE_VM succeeded")


def _boots(view: HostView) -> Answer:
    if view.facts.kvm_api != "":
        return None
    if view.facts.kvm_trial is None:
        return Unseen(
            why="no guest was tried under KVM since the start of this machine; "
            "vmjitter doctor --guest tries one"
        )
    if view.facts.kvm_trial:
        return blocker("A guest does not start under KVM", view.facts.kvm_trial)
    return ok("A guest starts under KVM", "the last trial since the start of this machine")


def _kind(view: HostView) -> Answer:
    module = module_of(view)
    if not module:
        if view.x86 or not view.tree.exists("/dev/kvm"):
            return None
        return ok("KVM is that of this architecture", "/dev/kvm exists; it has no module here")
    evidence = f"/sys/module/{module} exists"
    if module == "kvm_pvm":
        return warning(f"KVM is {_KINDS[module]}", evidence)
    return ok(f"KVM is {_KINDS[module]}", evidence)


def _second_level(view: HostView) -> Answer:
    path = _SECOND_LEVEL.get(module_of(view), "")
    if not path or view.read(path) is None:
        return None
    if view.read(path) in _ON:
        return ok("Guests' page tables are walked by the processor", view.show(path))
    return problem("KVM keeps shadow copies of guests' page tables", view.show(path))


def _nested(view: HostView) -> Answer:
    if not view.virtual:
        return ok("The host is not a virtual machine", "no flag hypervisor in /proc/cpuinfo")
    product = view.read("/sys/class/dmi/id/product_name")
    where = f"; /sys/class/dmi/id/product_name = {product}" if product else ""
    return problem(
        "This host is itself a virtual machine",
        f"the flag hypervisor in /proc/cpuinfo is set{where}",
    )


def _posted(view: HostView) -> Answer:
    path, name = _POSTED.get(module_of(view), ("", ""))
    if not path or view.read(path) is None:
        return None
    if view.read(path) in _ON:
        return ok("Interrupts reach a running guest without an exit", view.show(path))
    module = module_of(view)
    return note(
        "Every interrupt for a guest takes it out of the guest",
        view.show(path),
        cure=f"echo 'options {module} {name}=1' > /etc/modprobe.d/kvm-posted.conf, "
        f"then load {module} again",
    )


def _qemu(view: HostView) -> Answer:
    version = view.facts.qemu
    if version is None:
        return Unseen(why="only a running host can be asked for its QEMU")
    if not version:
        return blocker("QEMU is not installed", "no qemu-system-x86_64 in PATH")
    evidence = f"qemu-system-x86_64 --version: {version}"
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    if major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) < (8, 1):
        return note(
            "QMP's query-stats interrupts the vCPUs in this release of QEMU",
            evidence,
            cost="over 50 us on each vCPU whenever a monitoring tool asks for statistics",
            cure="do not poll query-stats while it matters, or use QEMU 8.1 or later",
        )
    return ok("Statistics are read without interrupting the vCPUs", evidence)


CHECKS: Final = (
    Check[HostView](
        id="kvm",
        asks="Does KVM make a virtual machine?",
        reads=("/dev/kvm, ioctl KVM_CREATE_VM",),
        cost="guests run in software emulation (TCG), whose times say nothing of a KVM host",
        cure="enable VT-x or AMD-V in the firmware, modprobe kvm_intel or kvm_amd, and be a "
        "member of the group kvm",
        source="Documentation/virt/kvm/api.rst",
        look=_device,
    ),
    Check[HostView](
        id="kvm-boots",
        asks="Does a guest start under KVM?",
        reads=("the last trial of a guest by vmjitter since the start of this machine",),
        cost="guests run in software emulation (TCG), whose times say nothing of a KVM host",
        cure="measure on another host; for function and structure: vmjitter run --bench sim",
        source="vmjitter's own trial, see docs/method/measurement.md",
        look=_boots,
    ),
    Check[HostView](
        id="kvm-kind",
        asks="What does KVM stand on?",
        reads=("/sys/module/kvm_intel, kvm_amd, kvm_pvm",),
        cost="exits are not those of VMX and SVM: their reasons are not decoded by perf kvm stat, "
        "and a bound found here holds for such hosts only",
        cure="measure where guests run on VMX or SVM",
        source="virt-pvm/linux issue 8",
        look=_kind,
    ),
    Check[HostView](
        id="second-level-paging",
        asks="Does the processor walk guests' page tables itself?",
        reads=tuple(_SECOND_LEVEL.values()),
        cost="each change of a guest's page tables is an exit",
        cure="load kvm_intel with ept=1, kvm_amd with npt=1; nested: ask whoever runs this machine",
        source="Documentation/virt/kvm/x86/mmu.rst",
        needs=Needs.MODULE,
        look=_second_level,
    ),
    Check[HostView](
        id="nested-host",
        asks="Is the host itself a virtual machine?",
        reads=("/proc/cpuinfo", "/sys/class/dmi/id/product_name"),
        cost="every exit of the guest becomes several, and the hypervisor below stops this host "
        "when it likes: spikes are 10 to 100 times those of bare metal",
        cure="measure on bare metal; a bound found here holds for this place only",
        source="Documentation/virt/kvm/x86/nested-vmx.rst",
        look=_nested,
    ),
    Check[HostView](
        id="posted-interrupts",
        asks="Do interrupts reach a guest without an exit?",
        reads=tuple(path for path, _ in _POSTED.values()),
        cost="an exit for each interrupt, and for each that a vCPU sends: 3 to 4 us in ACRN's "
        "real-time tips",
        cure="load kvm_intel with enable_apicv=1, kvm_amd with avic=1",
        source="Documentation/admin-guide/kernel-parameters.txt, kvm-intel.enable_apicv, "
        "kvm-amd.avic",
        needs=Needs.MODULE,
        look=_posted,
    ),
    Check[HostView](
        id="qemu",
        asks="Is QEMU there, and can it be watched without disturbing the guest?",
        reads=("qemu-system-x86_64 --version",),
        cost="no guest can be started",
        cure="install QEMU, e.g. apt-get install qemu-system-x86",
        source="QEMU commit 3b6f485275ae",
        look=_qemu,
    ),
)
