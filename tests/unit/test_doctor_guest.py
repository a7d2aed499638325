"""What the doctor says about a guest, from what `cat` says inside."""

from __future__ import annotations

from typing import Final

import pytest

from vmjitter.doctor.check import diagnose
from vmjitter.doctor.finding import Finding, Severity
from vmjitter.doctor.guest import GUEST_CHECKS
from vmjitter.doctor.kernel_view import KernelView
from vmjitter.tuning.knobs import KNOBS

_CLOCK: Final = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
_MCE: Final = "/sys/devices/system/machinecheck/machinecheck0"
_WELL: Final = {
    "/proc/sys/kernel/osrelease": "6.12.41-rt1",
    "/proc/sys/kernel/version": "#1 SMP PREEMPT_RT",
    "/proc/sys/kernel/sched_rt_runtime_us": "-1",
    "/proc/sys/kernel/sched_rt_period_us": "1000000",
    "/proc/sys/kernel/timer_migration": "0",
    "/proc/sys/kernel/nmi_watchdog": "0",
    "/proc/sys/kernel/soft_watchdog": "0",
    "/proc/sys/kernel/printk": "3 4 1 7",
    "/proc/cmdline": "console=ttyS0 quiet tsc=reliable idle=poll isolcpus=1",
    "/proc/cpuinfo": "vendor_id : GenuineIntel\nflags : tsc_deadline_timer hypervisor",
    "/sys/kernel/realtime": "1",
    "/sys/devices/system/cpu/online": "0-1",
    "/sys/devices/system/cpu/isolated": "1",
    "/sys/devices/system/cpu/vulnerabilities/spectre_v2": "Vulnerable",
    _CLOCK: "tsc",
    f"{_MCE}/check_interval": "0",
}


def _examine(**changes: str | None) -> dict[str, Finding]:
    files = {**_WELL, **changes}
    found = diagnose("guest", GUEST_CHECKS, KernelView(reader=files.get))
    assert found.unknown == ()
    return {one.id: one for one in found.findings}


def test_a_guest_by_the_book_has_nothing_against_it() -> None:
    found = _examine()
    assert [one for one in found.values() if one.severity is not Severity.OK] == []
    asked = {check.id for check in GUEST_CHECKS if check.id.startswith("guest-")}
    assert asked <= set(found)


@pytest.mark.parametrize(
    ("path", "value", "check", "severity"),
    [
        ("/sys/kernel/realtime", "0", "guest-preempt-rt", Severity.OK),  # the build says so
        (
            "/proc/sys/kernel/sched_rt_runtime_us",
            "950000",
            "guest-realtime-throttling",
            Severity.PROBLEM,
        ),
        ("/sys/devices/system/cpu/online", "0", "guest-isolation", Severity.NOTE),
        ("/sys/devices/system/cpu/isolated", "", "guest-isolation", Severity.NOTE),
        (
            "/sys/devices/system/cpu/vulnerabilities/spectre_v2",
            "Mitigation: IBRS",
            "guest-mitigations",
            Severity.NOTE,
        ),
        (_CLOCK, "hpet", "guest-clocksource", Severity.PROBLEM),
        (_CLOCK, "acpi_pm", "guest-clocksource", Severity.PROBLEM),
        (_CLOCK, "kvm-clock", "guest-clocksource", Severity.OK),
        (_CLOCK, "tsc-early", "guest-clocksource", Severity.NOTE),
        ("/proc/cmdline", "quiet", "guest-tsc", Severity.NOTE),
        ("/proc/cmdline", "quiet", "guest-idle", Severity.NOTE),
        ("/proc/cmdline", "quiet", "guest-console", Severity.OK),
        ("/proc/cpuinfo", "vendor_id : GenuineIntel\nflags : tsc", "guest-timer", Severity.NOTE),
        ("/proc/sys/kernel/timer_migration", "1", "guest-timer-migration", Severity.NOTE),
        ("/proc/sys/kernel/printk", "7 4 1 7", "guest-console", Severity.WARNING),
        ("/proc/sys/kernel/soft_watchdog", "1", "guest-watchdogs", Severity.NOTE),
        (f"{_MCE}/check_interval", "300", "guest-machine-checks", Severity.NOTE),
        ("/proc/sys/kernel/osrelease", "6.18.44", "kernel-eevdf-starvation", Severity.PROBLEM),
    ],
)
def test_one_thing_differs(path: str, value: str, check: str, severity: Severity) -> None:
    finding = _examine(**{path: value})[check]
    assert finding.severity is severity


def test_an_ordinary_kernel_in_the_guest() -> None:
    changes = {"/sys/kernel/realtime": None, "/proc/sys/kernel/version": "#1 SMP PREEMPT_DYNAMIC"}
    assert _examine(**changes)["guest-preempt-rt"].severity is Severity.PROBLEM


def test_polling_before_a_halt_is_well() -> None:
    driver = "/sys/devices/system/cpu/cpuidle/current_driver"
    found = _examine(**{"/proc/cmdline": "quiet", driver: "haltpoll"})
    assert found["guest-idle"].severity is Severity.OK


def test_checks_of_a_guest_name_knobs_that_exist() -> None:
    assert len({check.id for check in GUEST_CHECKS}) == len(GUEST_CHECKS)
    for check in GUEST_CHECKS:
        assert not check.knob or check.knob in KNOBS
