"""QEMU's threads: policies, CPUs, and what they share them with."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, blocker, note, ok, problem, warning
from vmjitter.doctor.checks.interrupts import on_cpus
from vmjitter.doctor.vm.view import VmThread, VmView
from vmjitter.effects.threads import cpu_list
from vmjitter.tuning.knob import Needs

_NAMELESS: Final = (
    "QEMU's threads have no names of their own: start it with -name NAME,debug-threads=on"
)


def _where(*threads: VmThread) -> str:
    return "; ".join(f"{one}, CPUs {cpu_list(one.cpus)}" for one in threads)


def _overlap(view: VmView) -> Answer:
    if not view.named:
        return Unseen(why=_NAMELESS)
    for vcpu in view.vcpus:
        starves = vcpu.realtime and vcpu.strength > view.main.strength
        if starves and view.main.cpus <= vcpu.cpus and len(vcpu.cpus) == 1:
            return blocker("A real-time vCPU starves QEMU's main loop", _where(vcpu, view.main))
        if starves and view.main.cpus & vcpu.cpus:
            return problem(
                "A real-time vCPU shares CPUs with QEMU's main loop", _where(vcpu, view.main)
            )
    return ok("No vCPU starves QEMU's main loop", _where(*view.vcpus, view.main))


def _pinned(view: VmView) -> Answer:
    if not view.named:
        return Unseen(why=_NAMELESS)
    loose = [vcpu for vcpu in view.vcpus if len(vcpu.cpus) != 1]
    if loose:
        return warning("vCPUs may move between CPUs", _where(*loose))
    shared = [
        vcpu
        for vcpu in view.vcpus
        if any(vcpu.cpus == other.cpus and vcpu is not other for other in view.vcpus)
    ]
    if shared:
        return problem("vCPUs share a CPU", _where(*shared))
    return ok("Each vCPU has one CPU", _where(*view.vcpus))


def _realtime(view: VmView) -> Answer:
    if not view.named:
        return Unseen(why=_NAMELESS)
    ordinary = [vcpu for vcpu in view.vcpus if not vcpu.realtime]
    if ordinary:
        return warning("vCPUs are ordinary threads", _where(*ordinary))
    return ok("vCPUs are real-time threads", _where(*view.vcpus))


def _isolated(view: VmView) -> Answer:
    isolated = view.host.isolated
    if not view.named:
        return Unseen(why=_NAMELESS)
    if not isolated:
        return None
    outside = [vcpu for vcpu in view.vcpus if not vcpu.cpus <= isolated]
    if outside:
        return warning(
            f"vCPUs are outside the CPUs set aside, {cpu_list(isolated)}", _where(*outside)
        )
    return ok("vCPUs are on CPUs set aside", _where(*view.vcpus))


def _emulator(view: VmView) -> Answer:
    if not view.named:
        return Unseen(why=_NAMELESS)
    guests = frozenset().union(*(vcpu.cpus for vcpu in view.vcpus))
    others = [one for one in view.threads if one not in view.vcpus and one not in view.vhost]
    beside = [one for one in others if one.cpus & guests]
    if beside:
        return warning("QEMU's other threads may run on the vCPUs' CPUs", _where(*beside))
    return ok("QEMU's other threads run elsewhere", _where(*others))


def _interrupted(view: VmView) -> Answer:
    cpus = frozenset().union(*(vcpu.cpus for vcpu in view.vcpus))
    if not view.named or len(cpus) > len(view.vcpus):
        return None  # not pinned: said elsewhere
    came = on_cpus(view.host, cpus)
    if came:
        return note(
            f"Devices have interrupted the vCPUs' CPUs {cpu_list(cpus)}",
            f"/proc/interrupts, since the start: {', '.join(came[:4])}",
        )
    return ok("No device has interrupted the vCPUs' CPUs", f"/proc/interrupts, {cpu_list(cpus)}")


def _vhost_cpus(view: VmView) -> Answer:
    if not view.vhost:
        return None
    guests = frozenset().union(*(vcpu.cpus for vcpu in view.vcpus))
    beside = [one for one in view.vhost if one.cpus & guests]
    if beside:
        return warning("vhost's workers may run on the vCPUs' CPUs", _where(*beside))
    return ok("vhost's workers run elsewhere", _where(*view.vhost))


def _vhost_policy(view: VmView) -> Answer:
    if not view.vhost:
        return None
    ordinary = [one for one in view.vhost if not one.realtime]
    if ordinary and any(vcpu.realtime for vcpu in view.vcpus):
        return warning("vhost's workers are ordinary threads", _where(*ordinary))
    if ordinary:
        return note("vhost's workers are ordinary threads", _where(*ordinary))
    return ok("vhost's workers are real-time threads", _where(*view.vhost))


def _pit(view: VmView) -> Answer:
    found = [one for one in view.kernel_threads if one.name.startswith("kvm-pit")]
    if not found:
        return None
    if all(one.realtime for one in found):
        return ok("The thread for the guest's interval timer is real-time", _where(*found))
    return note("The thread for the guest's interval timer is an ordinary one", _where(*found))


def _quota(view: VmView) -> Answer:
    quotas = view.host.quotas(str(view.pid))
    if not quotas:
        return ok("No control group limits QEMU's CPU time", f"/proc/{view.pid}/cgroup: no quota")
    text = "; ".join(
        one.evidence + ("" if one.throttled is None else f", nr_throttled {one.throttled}")
        for one in quotas
    )
    return problem("A control group limits QEMU's CPU time", text)


CHECKS: Final = (
    Check[VmView](
        id="vm-main-loop-starved",
        asks="Does a real-time vCPU starve QEMU's main loop?",
        reads=("/proc/PID/task/*/stat, status",),
        cost="the guest never boots, or stands still with 100 % CPU as soon as a device needs QEMU",
        cure="taskset -p -c LIST PID, LIST CPUs without a vCPU; <emulatorpin> in libvirt",
        source="seapath/ansible issue 438",
        knob="emulator-pin",
        look=_overlap,
    ),
    Check[VmView](
        id="vm-vcpus-pinned",
        asks="Has each vCPU a CPU of its own?",
        reads=("/proc/PID/task/*/status",),
        cost="the scheduler moves vCPUs, and other programs run beside them",
        cure="taskset -p -c CPU TID for each vCPU; <vcpupin> in libvirt",
        source="libvirt knowledge base, KVM real time",
        knob="vcpu-pin",
        look=_pinned,
    ),
    Check[VmView](
        id="vm-vcpus-realtime",
        asks="Are vCPUs real-time threads?",
        reads=("/proc/PID/task/*/stat",),
        cost="a vCPU waits until other programs give the CPU up, milliseconds",
        cure="chrt -f -p 1 TID for each vCPU; <vcpusched scheduler='fifo' priority='1'> in libvirt",
        source="libvirt knowledge base, KVM real time",
        knob="vcpu-fifo",
        look=_realtime,
    ),
    Check[VmView](
        id="vm-vcpus-isolated",
        asks="Are vCPUs on the CPUs that are set aside?",
        reads=("/proc/PID/task/*/status", "/sys/devices/system/cpu/isolated"),
        cost="the CPUs set aside are of no use",
        cure="taskset -p -c CPU TID, CPU one of those set aside",
        source="libvirt knowledge base, KVM real time; kubevirt issues 9509, 8233",
        knob="vcpu-pin",
        look=_isolated,
    ),
    Check[VmView](
        id="vm-emulator-cpus",
        asks="Do QEMU's other threads run on the vCPUs' CPUs?",
        reads=("/proc/PID/task/*/status",),
        cost="the guest waits for QEMU's own work, or QEMU's work for the guest",
        cure="taskset -p -c LIST TID for each; <emulatorpin> and <iothreadpin> in libvirt",
        source="libvirt knowledge base, KVM real time",
        knob="emulator-pin",
        look=_emulator,
    ),
    Check[VmView](
        id="vm-vcpus-interrupted",
        asks="Have devices interrupted the vCPUs' CPUs?",
        reads=("/proc/interrupts",),
        cost="each interrupt takes the vCPU out of its guest",
        cure="echo LIST > /proc/irq/N/smp_affinity_list, LIST the other CPUs",
        source="cr0x.net on pinning",
        knob="irqs-elsewhere",
        look=_interrupted,
    ),
    Check[VmView](
        id="vm-vhost-cpus",
        asks="Do vhost's workers run on the vCPUs' CPUs?",
        reads=("/proc/PID/task/*/status, and threads of the kernel",),
        cost="packets and vCPUs wait for each other",
        cure="taskset -p -c LIST TID; a CPU of its own serves best under load",
        source="kubevirt enhancement proposal 374; spdk issue 3482",
        knob="vhost-pin",
        look=_vhost_cpus,
    ),
    Check[VmView](
        id="vm-vhost-realtime",
        asks="Are vhost's workers real-time threads?",
        reads=("/proc/PID/task/*/stat, and threads of the kernel",),
        cost="packets wait behind everything else on the host",
        cure="chrt -r -p 1 TID at each start of the guest",
        source="SEAPATH issue 808; spdk issue 3482",
        knob="vhost-fifo",
        look=_vhost_policy,
    ),
    Check[VmView](
        id="vm-pit-thread",
        asks="Is the kernel's thread for the interval timer real-time?",
        reads=("threads of the kernel",),
        cost="ticks of a guest that uses the interval timer come late",
        cure="chrt -r -p 1 TID of kvm-pit/PID",
        source="SEAPATH",
        knob="kvm-pit-rr",
        look=_pit,
    ),
    Check[VmView](
        id="vm-cpu-quota",
        asks="Does a control group limit QEMU's CPU time?",
        reads=("/proc/PID/cgroup", "cpu.max or cpu.cfs_quota_us", "cpu.stat"),
        cost="the guest stops until the next period, typically 100 ms",
        cure="echo max > cpu.max of that group; no <quota> in libvirt's <cputune>",
        source="cgroups(7); k0s issue 4954",
        needs=Needs.NOTHING,
        look=_quota,
    ),
)
