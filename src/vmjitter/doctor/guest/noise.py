"""Small regular work of the guest's kernel, and its console."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok, warning
from vmjitter.doctor.kernel_view import KernelView, is_serial

_NMI: Final = "/proc/sys/kernel/nmi_watchdog"
_SOFT: Final = "/proc/sys/kernel/soft_watchdog"
_PRINTK: Final = "/proc/sys/kernel/printk"
_MCE: Final = "/sys/devices/system/machinecheck/machinecheck0"
_ERRORS_ONLY: Final = 4
"""Messages below this level reach the console: errors and worse (syslog(2))."""


def _watchdogs(view: KernelView) -> Answer:
    state = {path: view.read(path) for path in (_NMI, _SOFT)}
    if set(state.values()) == {None}:
        return None
    evidence = ", ".join(view.show(path) for path, value in state.items() if value is not None)
    if "1" in state.values():
        return note("Detectors of lock-ups run in the guest", evidence)
    return ok("No detector of lock-ups runs in the guest", evidence)


def _machine_checks(view: KernelView) -> Answer:
    interval = view.number(f"{_MCE}/check_interval")
    if interval is None:
        return None
    if interval == 0 or view.read(f"{_MCE}/ignore_ce") == "1":
        return ok("The guest does not poll for machine checks", view.show(f"{_MCE}/check_interval"))
    return note("The guest polls for machine checks", view.show(f"{_MCE}/check_interval"))


def _console(view: KernelView) -> Answer:
    serial = [word for word in view.words if is_serial(word)]
    level = (view.read(_PRINTK) or "").split()[:1]
    if not serial:
        return ok("The guest's console is no serial port", "/proc/cmdline: no console=ttyS...")
    evidence = f"/proc/cmdline: {' '.join(serial)}; {view.show(_PRINTK)}"
    if level and level[0].isdecimal() and int(level[0]) <= _ERRORS_ONLY:
        return ok("The guest's kernel writes errors only to its serial port", evidence)
    return warning("The guest's kernel writes messages to an emulated serial port", evidence)


CHECKS: Final = (
    Check[KernelView](
        id="guest-console",
        asks="Does the guest's kernel write to an emulated serial port?",
        reads=("/proc/cmdline", _PRINTK),
        cost="an exit per byte: 83 us per byte in one kernel under KVM",
        cure="sysctl -w kernel.printk='3 1 1 7' in the guest; console=hvc0 quiet",
        source="Uros issue 567; substrate issue 1055",
        knob="guest-printk-quiet",
        look=_console,
    ),
    Check[KernelView](
        id="guest-watchdogs",
        asks="Do detectors of lock-ups run in the guest?",
        reads=(_NMI, _SOFT),
        cost="a timer every few seconds",
        cure="boot the guest with nowatchdog",
        source="Documentation/admin-guide/lockup-watchdogs.rst",
        knob="guest-watchdog-off",
        look=_watchdogs,
    ),
    Check[KernelView](
        id="guest-machine-checks",
        asks="Does the guest poll for machine checks?",
        reads=(f"{_MCE}/check_interval, ignore_ce",),
        cost="a timer on every vCPU, by default each five minutes",
        cure="boot the guest with mce=off or mce=ignore_ce",
        source="ACRN, real-time tips",
        knob="guest-mce-off",
        look=_machine_checks,
    ),
)
