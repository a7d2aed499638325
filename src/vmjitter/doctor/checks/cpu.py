"""Sleep states, frequency, and the sibling threads of a core."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok, warning
from vmjitter.doctor.view import HostView

_LONG_EXIT_US: Final = 10
"""A state that takes longer to leave is worth a warning: about what a wake-up takes anyway."""
_SMT: Final = "/sys/devices/system/cpu/smt/control"
_NO_TURBO: Final = "/sys/devices/system/cpu/intel_pstate/no_turbo"
_BOOST: Final = "/sys/devices/system/cpu/cpufreq/boost"


def _states(view: HostView) -> list[tuple[int, str, str]]:
    """Exit latency in microseconds, name and directory of the enabled states of one CPU."""
    cpu = min(view.isolated or view.online or {0})
    found = []
    for path in view.tree.match(f"/sys/devices/system/cpu/cpu{cpu}/cpuidle/state[0-9]*"):
        latency = view.number(f"{path}/latency")
        if latency is not None and view.read(f"{path}/disable") != "1":
            found.append((latency, view.read(f"{path}/name") or "", path))
    return found


def _sleep(view: HostView) -> Answer:
    states = _states(view)
    if view.option("idle") == "poll":
        return ok("Idle CPUs spin", "/proc/cmdline: idle=poll")
    if not states:
        return None if view.tree.exists("/sys/devices/system/cpu/online") else Unseen(why="no /sys")
    latency, name, path = max(states)
    evidence = f"{path}/latency = {latency} us ({name})"
    limit = view.facts.dma_latency_us
    if latency <= _LONG_EXIT_US:
        return ok("Idle CPUs wake up at once", evidence)
    if limit is not None and limit <= _LONG_EXIT_US:
        return ok("Idle CPUs are kept awake", f"{evidence}; /dev/cpu_dma_latency = {limit} us")
    held = "" if limit is not None else "; root could tell whether /dev/cpu_dma_latency is held low"
    return warning(
        f"An idle CPU may take {latency} us to wake up",
        f"{evidence}{held}",
        cost=f"up to {latency} us for each wake-up of a CPU that was idle",
    )


def _governor(view: HostView) -> Answer:
    paths = view.tree.match("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    found = {view.read(path) or "" for path in paths} - {""}
    if not found:
        return None
    evidence = f"cpu*/cpufreq/scaling_governor = {', '.join(sorted(found))}"
    if found == {"performance"}:
        return ok("The processor keeps its frequency up", evidence)
    return warning("The processor may run slowly", evidence)


def _turbo(view: HostView) -> Answer:
    path, free = (_NO_TURBO, "0") if view.read(_NO_TURBO) is not None else (_BOOST, "1")
    if view.read(path) is None:
        return None
    if view.read(path) == free:
        return note("The frequency depends on what the other cores do", view.show(path))
    return ok("The frequency does not depend on the other cores", view.show(path))


def _siblings(view: HostView) -> Answer:
    state = view.read(_SMT)
    if state is None:
        return None
    if state == "on":
        return warning("Cores run two threads each", view.show(_SMT))
    return ok("Every core runs one thread", view.show(_SMT))


CHECKS: Final = (
    Check[HostView](
        id="sleep-states",
        asks="How long does an idle CPU take to wake up?",
        reads=("/sys/devices/system/cpu/cpu*/cpuidle/state*", "/dev/cpu_dma_latency, by root"),
        cost="the exit latency of the state, for each wake-up",
        cure="hold /dev/cpu_dma_latency open with 0, as tuned does; or boot with "
        "processor.max_cstate=1 intel_idle.max_cstate=1",
        source="Documentation/power/pm_qos_interface.rst; tuned, profile latency-performance",
        knob="pm-qos",
        look=_sleep,
    ),
    Check[HostView](
        id="frequency-governor",
        asks="Does the processor keep its frequency up?",
        reads=("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",),
        cost="after a pause the guest runs at the lowest frequency until the governor has noticed",
        cure="cpupower frequency-set -g performance",
        source="Documentation/admin-guide/pm/cpufreq.rst; tuned, profile latency-performance",
        knob="governor-performance",
        look=_governor,
    ),
    Check[HostView](
        id="turbo",
        asks="Does the frequency depend on other cores?",
        reads=(_NO_TURBO, _BOOST),
        cost="times differ from run to run by the ratio of the frequencies",
        cure=f"echo 1 > {_NO_TURBO}, or echo 0 > {_BOOST}",
        source="Documentation/admin-guide/pm/intel_pstate.rst, no_turbo",
        look=_turbo,
    ),
    Check[HostView](
        id="smt",
        asks="Do cores run more than one thread?",
        reads=(_SMT,),
        cost="the thread beside a vCPU takes part of its core whenever it runs",
        cure=f"echo off > {_SMT}, or boot with nosmt",
        source="libvirt knowledge base, KVM real time",
        knob="smt-off",
        look=_siblings,
    ),
)
