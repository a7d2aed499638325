"""Small regular work of the kernel on every CPU."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

_STAT: Final = "/proc/sys/vm/stat_interval"
_NMI: Final = "/proc/sys/kernel/nmi_watchdog"
_SOFT: Final = "/proc/sys/kernel/soft_watchdog"
_WATCHED: Final = "/proc/sys/kernel/watchdog_cpumask"
_RARE_S: Final = 10


def _vmstat(view: HostView) -> Answer:
    interval_s = view.number(_STAT)
    if interval_s is None:
        return None
    isolated = view.isolated and view.version is not None and view.version >= (6, 5, 0)
    if isolated or interval_s >= _RARE_S:
        why = ", kernel 6.5 or later spares isolated CPUs" if isolated else ""
        return ok("Statistics of memory are collected rarely", view.show(_STAT) + why)
    return note(f"Statistics of memory are collected every {interval_s} s", view.show(_STAT))


def _watchdogs(view: HostView) -> Answer:
    state = {path: view.read(path) for path in (_NMI, _SOFT)}
    if set(state.values()) == {None}:
        return None
    watched = view.cpus(_WATCHED) or view.online
    evidence = ", ".join(view.show(path) for path, value in state.items() if value is not None)
    evidence += f", {view.show(_WATCHED)}" if view.read(_WATCHED) else ""
    guests = view.isolated or view.online
    if "1" in state.values() and guests & watched:
        return note("Detectors of lock-ups interrupt the guests' CPUs", evidence)
    return ok("No detector of lock-ups interrupts the guests' CPUs", evidence)


def _machine_checks(view: HostView) -> Answer:
    paths = view.tree.match("/sys/devices/system/machinecheck/machinecheck*/check_interval")
    ignored = view.tree.match("/sys/devices/system/machinecheck/machinecheck*/ignore_ce")
    if not paths:
        return None
    polled = [path for path in paths if (view.number(path) or 0) > 0]
    if not polled or (ignored and all(view.read(path) == "1" for path in ignored)):
        return ok("Corrected errors of the hardware are not polled for", view.show(paths[0]))
    return note("Corrected errors of the hardware are polled for", view.show(polled[0]))


def _static_keys(view: HostView) -> Answer:
    if not view.isolated:
        return None
    if "tuned" in view.commands:
        return ok("tuned holds a socket with time stamps, if its profile has rtentsk", "tuned runs")
    return note(
        "Code that is patched at run time interrupts all CPUs",
        "nothing is known to hold a socket with time stamps open",
    )


CHECKS: Final = (
    Check[HostView](
        id="vmstat",
        asks="How often are statistics of memory collected?",
        reads=(_STAT, "/proc/sys/kernel/osrelease"),
        cost="7 us on the host were over 50 us in the guest",
        cure="sysctl -w vm.stat_interval=10; Linux 6.5 or later with isolated CPUs",
        source="Linux commit be5e015d107d; CentOS Stream kernel, merge request 2753",
        knob="vmstat-rare",
        look=_vmstat,
    ),
    Check[HostView](
        id="watchdogs",
        asks="Do detectors of lock-ups run on the guests' CPUs?",
        reads=(_NMI, _SOFT, _WATCHED),
        cost="a timer and a non-maskable interrupt every few seconds",
        cure="sysctl -w kernel.nmi_watchdog=0 kernel.soft_watchdog=0, or boot with nosoftlockup "
        "nmi_watchdog=0",
        source="Documentation/admin-guide/lockup-watchdogs.rst; tuned, profile network-latency",
        knob="watchdog-off",
        look=_watchdogs,
    ),
    Check[HostView](
        id="machine-check-polling",
        asks="Are corrected errors of the hardware polled for?",
        reads=("/sys/devices/system/machinecheck/*/check_interval, ignore_ce",),
        cost="a timer on every CPU, by default each five minutes",
        cure="echo 1 > /sys/devices/system/machinecheck/machinecheckN/ignore_ce, for all N",
        source="Documentation/ABI/testing/sysfs-mce; tuned, profile realtime",
        knob="mce-poll-off",
        look=_machine_checks,
    ),
    Check[HostView](
        id="static-keys",
        asks="Does something keep the kernel from patching its code?",
        reads=("names of running programs",),
        cost="an interrupt of all CPUs, also of those set aside, whenever the first socket asks "
        "for time stamps",
        cure="use tuned's plug-in rtentsk, or keep a socket with SO_TIMESTAMPING open",
        source="tuned, plug-in rtentsk of the profile network-latency",
        needs=Needs.NOTHING,
        look=_static_keys,
    ),
)
