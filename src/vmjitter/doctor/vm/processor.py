"""The guest's processor, and who runs it."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, blocker, note, ok, problem
from vmjitter.doctor.vm.view import VmView
from vmjitter.tuning.knob import Needs

_WANTED: Final = ("tsc-deadline", "invtsc")


def _accel(view: VmView) -> Answer:
    evidence = f"threads: {view.vcpus[0].name}" if view.vcpus else "-accel, -machine accel="
    if view.kvm:
        return ok("The guest runs under KVM", evidence)
    return blocker("The guest runs in software emulation (TCG)", evidence)


def _model(view: VmView) -> str:
    return next((option.text for option in view.all("cpu")), "")


def _flags(view: VmView) -> Answer:
    if not view.kvm:
        return None
    model = _model(view)
    words = model.split(",")
    asked = {word.lstrip("+").removesuffix("=on") for word in words[1:]}
    if words[0] not in {"host", "max"}:
        return note(
            "The guest's processor is a model, not the host's", f"-cpu {model or 'default'}"
        )
    missing = [f"+{name}" for name in _WANTED if name not in asked]
    if "pmu=off" not in words:
        missing.append("pmu=off")
    if missing:
        return note(
            "The guest's processor lacks what a real-time guest wants",
            f"-cpu {model}, without {', '.join(missing)}",
        )
    return ok("The guest's processor has what a real-time guest wants", f"-cpu {model}")


def _enlightened(view: VmView) -> Answer:
    found = [
        word for word in _model(view).split(",") if word.lstrip("+").startswith(("hv-", "hv_"))
    ]
    if not found:
        return None
    return note("The guest's processor pretends to be Hyper-V's", f"-cpu ...,{','.join(found)}")


def _dedicated(view: VmView) -> Answer:
    if not view.kvm:
        return None
    if view.value("overcommit", "cpu-pm") == "on":
        return ok("The guest may halt its CPU without leaving", "-overcommit cpu-pm=on")
    return note(
        "Each halt of the guest goes through the host's scheduler", "no -overcommit cpu-pm=on"
    )


def _irqchip(view: VmView) -> Answer:
    if not view.kvm:
        return None
    value = view.value("accel", "kernel-irqchip") or view.value("machine", "kernel-irqchip")
    value = value or view.value("machine", "kernel_irqchip")
    if value == "off":
        return problem("QEMU emulates the guest's interrupt controller", "kernel-irqchip=off")
    if value == "split":
        return note(
            "QEMU emulates part of the guest's interrupt controller", "kernel-irqchip=split"
        )
    return ok("KVM emulates the guest's interrupt controller", f"kernel-irqchip={value or 'on'}")


def _names(view: VmView) -> Answer:
    if view.named:
        return ok("QEMU's threads have names", f"such as {view.vcpus[0].name}")
    return note("QEMU's threads cannot be told apart", "no -name NAME,debug-threads=on")


CHECKS: Final = (
    Check[VmView](
        id="vm-accelerator",
        asks="Does the guest run under KVM?",
        reads=("names of QEMU's threads", "/proc/PID/cmdline"),
        cost="times say nothing of a KVM host",
        cure="-accel kvm",
        source="qemu(1), -accel",
        needs=Needs.QEMU,
        look=_accel,
    ),
    Check[VmView](
        id="vm-interrupt-controller",
        asks="Who emulates the guest's interrupt controller?",
        reads=("/proc/PID/cmdline",),
        cost="an exit to QEMU for every timer and every interrupt",
        cure="-accel kvm,kernel-irqchip=on",
        source="qemu(1), -accel",
        needs=Needs.QEMU,
        look=_irqchip,
    ),
    Check[VmView](
        id="vm-cpu-flags",
        asks="Has the guest's processor what a real-time guest wants?",
        reads=("/proc/PID/cmdline",),
        cost="timers with the local APIC's resolution, a clock that may fall back to a slow one, "
        "and counters that KVM has to keep up",
        cure="-cpu host,+tsc-deadline,+invtsc,pmu=off (invtsc excludes live migration)",
        source="libvirt knowledge base, KVM real time; RHEL, real-time guests",
        knob="cpu-rt-flags",
        look=_flags,
    ),
    Check[VmView](
        id="vm-hyperv",
        asks="Does the guest's processor pretend to be Hyper-V's?",
        reads=("/proc/PID/cmdline",),
        cost="made for Windows; some may keep KVM from posting interrupts (not verified)",
        cure="no hv-* flags for a Linux guest",
        source="QEMU's documentation, system/i386/hyperv",
        needs=Needs.QEMU,
        look=_enlightened,
    ),
    Check[VmView](
        id="vm-cpu-pm",
        asks="May the guest halt its CPU without leaving?",
        reads=("/proc/PID/cmdline",),
        cost="the way through the host's scheduler for each wake-up",
        cure="-overcommit cpu-pm=on, with a CPU of its own for each vCPU",
        source="qemu(1), -overcommit",
        knob="cpu-pm",
        look=_dedicated,
    ),
    Check[VmView](
        id="vm-thread-names",
        asks="Can QEMU's threads be told apart?",
        reads=("names of QEMU's threads",),
        cost="tools cannot find the vCPUs, and the doctor's own checks of threads are blind",
        cure="-name NAME,debug-threads=on",
        source="qemu(1), -name",
        needs=Needs.QEMU,
        look=_names,
    ),
)
