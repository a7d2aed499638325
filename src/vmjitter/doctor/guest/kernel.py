"""The guest's kernel and its scheduler."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok, problem
from vmjitter.doctor.checks.kernel import build_of
from vmjitter.doctor.checks.scheduling import RT_PERIOD, RT_RUNTIME, rt_throttling
from vmjitter.doctor.kernel_view import KernelView
from vmjitter.effects.threads import cpu_list
from vmjitter.tuning.knob import Needs

_VULNERABILITIES: Final = "/sys/devices/system/cpu/vulnerabilities"
_NAMES: Final = (
    "gather_data_sampling",
    "l1tf",
    "mds",
    "meltdown",
    "mmio_stale_data",
    "retbleed",
    "spec_rstack_overflow",
    "spec_store_bypass",
    "spectre_v1",
    "spectre_v2",
    "srbds",
    "tsa",
    "tsx_async_abort",
    "vmscape",
)


def _realtime(view: KernelView) -> Answer:
    if view.realtime:
        return ok("The guest's kernel is PREEMPT_RT", build_of(view))
    return problem("The guest's kernel is not PREEMPT_RT", build_of(view))


def _isolation(view: KernelView) -> Answer:
    evidence = view.show("/sys/devices/system/cpu/online")
    isolated = view.cpus("/sys/devices/system/cpu/isolated")
    if len(view.online) < 2:
        return note("The guest has one vCPU, which does everything", evidence)
    if not isolated:
        return note(
            "No vCPU is set aside for the real-time program",
            f"{evidence}, {view.show('/sys/devices/system/cpu/isolated')}",
        )
    return ok(f"vCPUs {cpu_list(isolated)} are set aside", f"{evidence}; isolated")


def _mitigations(view: KernelView) -> Answer:
    found = {name: view.read(f"{_VULNERABILITIES}/{name}") for name in _NAMES}
    known = {name: text for name, text in found.items() if text is not None}
    active = [name for name, text in known.items() if "Mitigation" in text]
    if not known:
        return None
    if active:
        return note(
            "Mitigations make system calls of the guest dearer",
            f"{_VULNERABILITIES}: active: {', '.join(active)}",
        )
    return ok("No mitigation slows the guest down", f"{_VULNERABILITIES}/*: none active")


CHECKS: Final = (
    Check[KernelView](
        id="guest-preempt-rt",
        asks="Is the guest's kernel PREEMPT_RT?",
        reads=("/sys/kernel/realtime", "/proc/sys/kernel/version"),
        cost="1.4 to 9.5 ms on a real-time host, caused inside the guest alone",
        cure="boot a real-time kernel in the guest, such as guest.kernel=debian-rt-amd64",
        source="ocp-virt-cookbook issue 141",
        knob="guest-kernel-rt",
        look=_realtime,
    ),
    Check[KernelView](
        id="guest-realtime-throttling",
        asks="Are the guest's real-time threads stopped for the sake of others?",
        reads=(RT_RUNTIME, RT_PERIOD),
        cost="a real-time program that spins stands still for the rest of each period",
        cure="sysctl -w kernel.sched_rt_runtime_us=-1 in the guest",
        source="sched(7); ros-realtime issue 28",
        knob="guest-rt-throttling-off",
        look=rt_throttling,
    ),
    Check[KernelView](
        id="guest-isolation",
        asks="Is a vCPU set aside for the real-time program?",
        reads=("/sys/devices/system/cpu/online, isolated",),
        cost="the guest's own system runs beside the program",
        cure="give it two vCPUs or more, and boot with isolcpus=, nohz_full=, rcu_nocbs= of all "
        "but the first",
        source="libvirt knowledge base, KVM real time",
        needs=Needs.GUEST,
        look=_isolation,
    ),
    Check[KernelView](
        id="guest-mitigations",
        asks="Do mitigations make the guest's system calls dearer?",
        reads=(f"{_VULNERABILITIES}/*",),
        cost="part of every system call and interrupt of the guest",
        cure="boot the guest with mitigations=off, if all its programs are trusted",
        source="Documentation/admin-guide/hw-vuln",
        needs=Needs.GUEST,
        look=_mitigations,
    ),
)
