"""What the host's scheduler does to real-time threads, and to QEMU's control group."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, blocker, note, ok, problem
from vmjitter.doctor.kernel_view import KernelView
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

RT_RUNTIME: Final = "/proc/sys/kernel/sched_rt_runtime_us"
RT_PERIOD: Final = "/proc/sys/kernel/sched_rt_period_us"
_DEFAULT_PERIOD_US: Final = 1_000_000


def _policy(view: HostView) -> Answer:
    refused = view.facts.fifo_refused
    if refused is None:
        return Unseen(why="only a running host can be asked for a real-time policy")
    if not refused:
        return ok("A thread may be real-time here", "sched_setscheduler(SCHED_FIFO, 1) succeeded")
    evidence = f"sched_setscheduler(SCHED_FIFO, 1): {refused}"
    if view.facts.fifo_allowed:
        group = (view.read("/proc/self/cgroup") or "").replace("\n", " ")
        return blocker(
            "Real-time threads are refused although we have the right",
            f"{evidence}; /proc/self/cgroup = {group}",
        )
    return Unseen(why="root, or a limit with ulimit -r, is needed to become a real-time thread")


def _group(view: HostView) -> Answer:
    built = view.built("CONFIG_RT_GROUP_SCHED")
    if built is None:
        return Unseen(why="the kernel's configuration is nowhere to be read")
    if not built:
        return ok("Control groups need no real-time budget", "CONFIG_RT_GROUP_SCHED is not set")
    off = "CONFIG_RT_GROUP_SCHED_DEFAULT_DISABLED" in view.config
    chosen = view.option("rt_group_sched")
    if chosen in {"0", "n", "off"} or (off and chosen is None):
        return ok("Control groups need no real-time budget", f"rt_group_sched={chosen or 'off'}")
    return note("A control group needs a real-time budget of its own", "CONFIG_RT_GROUP_SCHED=y")


def rt_throttling(view: KernelView) -> Answer:
    """Of the host, or of a guest."""
    runtime_us = view.number(RT_RUNTIME)
    period_us = view.number(RT_PERIOD) or _DEFAULT_PERIOD_US
    if runtime_us is None:
        return None
    if runtime_us < 0 or runtime_us >= period_us:
        return ok("Real-time threads are never stopped", view.show(RT_RUNTIME))
    stopped_us = period_us - runtime_us
    return problem(
        f"Real-time threads that use a CPU up are stopped for {stopped_us / 1000:g} ms "
        f"in every {period_us / 1000:g} ms",
        f"{view.show(RT_RUNTIME)}, {view.show(RT_PERIOD)}",
    )


def _quota(view: HostView) -> Answer:
    quotas = view.quotas()
    if not quotas:
        return ok("No control group limits our CPU time", "no cpu.max or cpu.cfs_quota_us is set")
    evidence = "; ".join(
        one.evidence + ("" if one.throttled is None else f", nr_throttled {one.throttled}")
        for one in quotas
    )
    return problem("A control group limits the CPU time of what we start", evidence)


CHECKS: Final = (
    Check[HostView](
        id="realtime-policy",
        asks="May a thread become real-time here?",
        reads=("sched_setscheduler(SCHED_FIFO), set for a moment", "/proc/self/cgroup"),
        cost="no recipe with real-time vCPUs works, and tools that do not read the policy back do "
        "not notice",
        cure="start QEMU in the root control group, give each group above it a budget in "
        "cpu.rt_runtime_us, or boot with rt_group_sched=0",
        source="sched(7); LinuxCNC issue 2821; LTP issue 1119",
        look=_policy,
    ),
    Check[HostView](
        id="realtime-group-budget",
        asks="Does a control group need a budget before its threads may be real-time?",
        reads=("the kernel's configuration", "/proc/cmdline"),
        cost="QEMU in a group without one, such as a container or machine.slice, is refused "
        "SCHED_FIFO, also as root",
        cure="echo 950000 > cpu.rt_runtime_us in each group from the root down to QEMU's, or boot "
        "with rt_group_sched=0",
        source="Documentation/scheduler/sched-rt-group.rst; amazonlinux/amazon-linux-2023 "
        "issue 315; moby issue 22380",
        needs=Needs.NOTHING,
        look=_group,
    ),
    Check[KernelView](
        id="realtime-throttling",
        asks="Are real-time threads stopped for the sake of others?",
        reads=(RT_RUNTIME, RT_PERIOD),
        cost="a vCPU that spins at SCHED_FIFO stands still for the rest of each period",
        cure="sysctl -w kernel.sched_rt_runtime_us=-1, with a CPU left to everything else",
        source="sched(7); ros-realtime issue 28; tuned, profile realtime",
        knob="rt-throttling-off",
        look=rt_throttling,
    ),
    Check[HostView](
        id="cpu-quota",
        asks="Does a control group limit our CPU time?",
        reads=("/proc/self/cgroup", "/sys/fs/cgroup/**/cpu.max or cpu.cfs_quota_us", "cpu.stat"),
        cost="a vCPU stops until the next period, typically 100 ms, also on CPUs of its own",
        cure="echo max > cpu.max of that group; CPUQuota= in a unit of systemd",
        source="cgroups(7); k0s issue 4954",
        knob="cgroup-quota-off",
        look=_quota,
    ),
)
