"""What the doctor says about hosts of several kinds, and about what differs between two."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import hosttrees
from fakes.hosttrees import (
    LAPTOP_FACTS,
    NESTED_FACTS,
    TUNED_FACTS,
    arm_board,
    laptop,
    nested_cloud,
    tuned_rhel,
)
from vmjitter.doctor.check import diagnose
from vmjitter.doctor.checks import HOST_CHECKS
from vmjitter.doctor.checks.known_bad import KNOWN_BAD
from vmjitter.doctor.finding import Diagnosis, Finding, Severity
from vmjitter.doctor.probe import look, parse_config
from vmjitter.doctor.view import Facts, HostView
from vmjitter.errors import UsageError
from vmjitter.tuning.knobs import KNOBS

_RELEASE = "/proc/sys/kernel/osrelease"
_TUNED_CONFIG = "/boot/config-5.14.0-503.el9.x86_64+rt"


def _examine(
    root: Path, files: dict[str, str], facts: Facts, gone: tuple[str, ...] = ()
) -> Diagnosis:
    kept = {path: text for path, text in files.items() if path not in gone}
    return diagnose("host", HOST_CHECKS, hosttrees.host(root, kept, facts))


def _by_id(found: Diagnosis) -> dict[str, Finding]:
    return {one.id: one for one in found.findings}


def _worse(found: Diagnosis, than: Severity) -> set[str]:
    return {one.id for one in found.findings if one.severity.rank > than.rank}


def test_a_tuned_server_has_nothing_worse_than_notes(tmp_path: Path) -> None:
    found = _examine(tmp_path, tuned_rhel(), TUNED_FACTS)
    assert _worse(found, Severity.NOTE) == set()
    assert found.exit_status == 0
    assert found.unknown == ()
    well = _by_id(found)
    assert well["sleep-states"].severity is Severity.OK
    assert "/dev/cpu_dma_latency = 0 us" in well["sleep-states"].evidence
    assert well["interrupt-placement"].severity is Severity.OK
    assert well["tool-tuned"].severity is Severity.NOTE


def test_a_laptop_as_it_came(tmp_path: Path) -> None:
    found = _examine(tmp_path, laptop(), LAPTOP_FACTS)
    assert found.exit_status == 4
    assert found.findings[0].id == "kvm"
    assert _worse(found, Severity.WARNING) == {
        "kvm",
        "realtime-throttling",
        "cpu-quota",
        "clocksource",
        "split-lock",
    }
    assert _worse(found, Severity.NOTE) - _worse(found, Severity.WARNING) == {
        "preempt-rt",
        "preemption-model",
        "isolated-cpus",
        "sleep-states",
        "frequency-governor",
        "smt",
        "page-merging",
        "nx-huge-pages",
        "tool-irqbalance",
        "tool-power-profiles-daemon",
        "tool-thermald",
    }
    by_id = _by_id(found)
    assert by_id["sleep-states"].cost == "up to 890 us for each wake-up of a CPU that was idle"
    assert "nr_throttled 7" in by_id["cpu-quota"].evidence
    assert "root" in by_id["sleep-states"].evidence


def test_what_root_would_add_is_said(tmp_path: Path) -> None:
    unknown = {one.id: one.why for one in _examine(tmp_path, laptop(), LAPTOP_FACTS).unknown}
    assert set(unknown) == {"realtime-policy", "trace-events", "kvm-statistics"}
    assert all("root" in why for why in unknown.values())


def test_a_nested_cloud_instance(tmp_path: Path) -> None:
    found = _examine(tmp_path, nested_cloud(), NESTED_FACTS)
    assert found.exit_status == 4
    assert [one.id for one in found.findings[:2]] == ["kvm-boots", "realtime-policy"]
    by_id = _by_id(found)
    assert "m5.2xlarge" in by_id["nested-host"].evidence
    assert by_id["timer-advance"].cost == "timers come 480000000 ns early"
    assert "/docker/ab12/cpu.cfs_quota_us = 50000" in by_id["cpu-quota"].evidence


def test_an_arm_board_is_not_asked_about_x86(tmp_path: Path) -> None:
    found = _examine(tmp_path, arm_board(), hosttrees.WELL)
    assert found.exit_status == 3
    assert _worse(found, Severity.NOTE) == {"realtime-throttling", "frequency-governor"}
    ids = set(_by_id(found)) | {one.id for one in found.unknown}
    assert not ids & {"tsc", "tsc-deadline", "split-lock", "firmware-interrupts", "smt"}
    assert "31 (mmc0): 77" in _by_id(found)["interrupt-placement"].evidence


def test_a_tree_without_anything_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    found = diagnose("host", HOST_CHECKS, look(tmp_path))
    assert {one.id for one in found.findings if one.severity is Severity.OK} <= {
        "cpu-quota",
        "nested-host",
        "swap",
    }
    assert {one.id for one in found.unknown} >= {"cpu-count", "preemption-model", "qemu"}


def test_a_root_without_proc_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no /proc"):
        look(tmp_path)


_CHANGES: list[tuple[str, dict[str, str], dict[str, Any], Severity, str]] = [
    # what is changed of the tuned server, what is then said, and of what it speaks
    ("kvm", {}, {"kvm_api": "KVM_CREATE_VM: No such device"}, Severity.BLOCKER, "No such device"),
    ("kvm-boots", {}, {"kvm_trial": "no answer"}, Severity.BLOCKER, "no answer"),
    ("qemu", {}, {"qemu": ""}, Severity.BLOCKER, "PATH"),
    ("qemu", {}, {"qemu": "8.0.5"}, Severity.NOTE, "8.0.5"),
    ("qemu", {}, {"qemu": "8.1.0"}, Severity.OK, "8.1.0"),
    ("qemu", {}, {"qemu": "10.0.2"}, Severity.OK, "10.0.2"),
    ("realtime-policy", {}, {"fifo_refused": "no"}, Severity.BLOCKER, "/proc/self/cgroup"),
    ("memory-lock-limit", {}, {"root": False, "memlock_bytes": 65536}, Severity.NOTE, "65536"),
    ("sleep-states", {}, {"dma_latency_us": 200}, Severity.WARNING, "133 us (C6)"),
    (
        "high-resolution-timers",
        {_TUNED_CONFIG: "CONFIG_NO_HZ=y\n"},
        {},
        Severity.BLOCKER,
        "CONFIG_HIGH_RES_TIMERS is not set",
    ),
    (
        "kernel-debugging",
        {_TUNED_CONFIG: "CONFIG_HIGH_RES_TIMERS=y\nCONFIG_KASAN=y\n"},
        {},
        Severity.PROBLEM,
        "CONFIG_KASAN=y",
    ),
    (
        "kvm-kind",
        {"/sys/module/kvm_pvm/": ""},
        {"gone": "kvm_intel"},
        Severity.WARNING,
        "kvm_pvm",
    ),
    (
        "second-level-paging",
        {"/sys/module/kvm_intel/parameters/ept": "N"},
        {},
        Severity.PROBLEM,
        "ept = N",
    ),
    (
        "posted-interrupts",
        {"/sys/module/kvm_intel/parameters/enable_apicv": "N"},
        {},
        Severity.NOTE,
        "enable_apicv = N",
    ),
    ("cpu-count", {"/sys/devices/system/cpu/online": "0"}, {}, Severity.WARNING, "online = 0"),
    (
        "isolated-cpus",
        {"/sys/devices/system/cpu/isolated": "0-7"},
        {},
        Severity.WARNING,
        "isolated = 0-7",
    ),
    ("tick", {"/sys/devices/system/cpu/nohz_full": "2-5"}, {}, Severity.NOTE, "nohz_full = 2-5"),
    ("rcu-callbacks", {"/proc/cmdline": "isolcpus=2-7"}, {}, Severity.NOTE, "no rcu_nocbs="),
    ("tsc", {"/proc/cpuinfo": "vendor_id : GenuineIntel\nflags : tsc\n"}, {}, Severity.NOTE, "tsc"),
    (
        "tsc-deadline",
        {"/proc/cpuinfo": "vendor_id : GenuineIntel\nflags : tsc\n"},
        {},
        Severity.NOTE,
        "lacks tsc_deadline_timer",
    ),
    (
        "numa-balancing",
        {"/proc/sys/kernel/numa_balancing": "1", "/sys/devices/system/node/online": "0-1"},
        {},
        Severity.WARNING,
        "online = 0-1",
    ),
    (
        "kvmclock-sync",
        {"/sys/module/kvm/parameters/kvmclock_periodic_sync": "Y"},
        {},
        Severity.NOTE,
        "= Y",
    ),
    (
        "timer-advance",
        {"/sys/module/kvm/parameters/lapic_timer_advance": "N"},
        {},
        Severity.NOTE,
        "= N",
    ),
    (
        "timer-injection",
        {"/sys/module/kvm/parameters/pi_inject_timer": "0"},
        {},
        Severity.NOTE,
        "= 0",
    ),
    (
        "timer-period",
        {"/sys/module/kvm/parameters/min_timer_period_us": "500"},
        {},
        Severity.NOTE,
        "500",
    ),
    (
        "cache-flush-on-entry",
        {"/sys/module/kvm_intel/parameters/vmentry_l1d_flush": "always"},
        {},
        Severity.WARNING,
        "always",
    ),
    (
        "machine-check-polling",
        {"/sys/devices/system/machinecheck/machinecheck0/check_interval": "300"},
        {},
        Severity.NOTE,
        "300",
    ),
    ("io-uring", {"/proc/sys/kernel/io_uring_disabled": "2"}, {}, Severity.NOTE, "= 2"),
    ("vhost-worker", {_RELEASE: "6.4.0"}, {}, Severity.NOTE, "6.4.0"),
    ("vhost-worker", {_RELEASE: "6.3.9"}, {}, Severity.OK, "6.3.9"),
    ("tap", {}, {"gone": "/dev/net/tun"}, Severity.NOTE, "does not exist"),
    ("vhost-net", {}, {"gone": "/dev/vhost-net"}, Severity.NOTE, "does not exist"),
    (
        "shared-cache",
        {"/proc/cpuinfo": "vendor_id : GenuineIntel\nflags : cat_l3\n"},
        {},
        Severity.NOTE,
        "cat_l3",
    ),
    ("tool-numad", {"/proc/99/comm": "numad"}, {}, Severity.WARNING, "numad"),
    ("tool-ksmtuned", {"/proc/99/comm": "ksmtuned"}, {}, Severity.WARNING, "ksmtuned"),
    ("tool-auto-cpufreq", {"/proc/99/comm": "auto-cpufreq"}, {}, Severity.WARNING, "auto"),
    ("tool-tlp", {"/proc/99/comm": "tlp"}, {}, Severity.WARNING, "tlp"),
    ("tool-cpuspeed", {"/proc/99/comm": "cpuspeed"}, {}, Severity.WARNING, "cpuspeed"),
    ("tool-scx-loader", {"/proc/99/comm": "scx_loader"}, {}, Severity.NOTE, "scx_loader"),
]


@pytest.mark.parametrize(
    ("check", "files", "facts", "severity", "words"),
    _CHANGES,
    ids=[f"{case[0]}-{number}" for number, case in enumerate(_CHANGES)],
)
def test_one_thing_differs_from_the_tuned_server(
    tmp_path: Path,
    check: str,
    files: dict[str, str],
    facts: dict[str, Any],
    severity: Severity,
    words: str,
) -> None:
    changes = dict(facts)
    gone = changes.pop("gone", None)
    tree = {
        path: text for path, text in tuned_rhel().items() if gone is None or gone not in path
    } | files
    finding = _by_id(_examine(tmp_path, tree, replace(TUNED_FACTS, **changes)))[check]
    assert finding.severity is severity
    assert words in finding.evidence
    assert bool(finding.cost and finding.cure) is (severity is not Severity.OK)


def test_every_check_of_the_host_is_seen_bad_in_some_test(tmp_path: Path) -> None:
    """So that none can be added that never says anything."""
    seen = {case[0] for case in _CHANGES} | {bug.id for bug in KNOWN_BAD}
    trees = (
        (tuned_rhel(), TUNED_FACTS),
        (laptop(), LAPTOP_FACTS),
        (nested_cloud(), NESTED_FACTS),
        (arm_board(), hosttrees.WELL),
    )
    for number, (files, facts) in enumerate(trees):
        found = _examine(tmp_path / str(number), files, facts)
        seen |= {one.id for one in found.findings if one.severity is not Severity.OK}
    assert {check.id for check in HOST_CHECKS} - seen == set()


@pytest.mark.parametrize(
    ("bug", "release", "severity"),
    [
        ("kernel-eevdf-starvation", "6.18.44", Severity.PROBLEM),
        ("kernel-eevdf-starvation", "6.18.45", Severity.OK),
        ("kernel-eevdf-starvation", "6.19.0", Severity.OK),
        ("kernel-5-15-rt-idle", "5.15.60-rt48", Severity.NOTE),
        ("kernel-5-15-rt-idle", "5.16.2-rt19", Severity.OK),
        ("kernel-ktimers-not-woken", "6.1.12-rt7", Severity.NOTE),
        ("kernel-hv-timer-lockup", "6.12.63", Severity.NOTE),
        ("kernel-hv-timer-lockup", "6.12.64", Severity.OK),
        ("kernel-hv-timer-lockup", "6.13.1", Severity.NOTE),
        ("kernel-lapic-timer-migration", "4.5.7", Severity.NOTE),
        ("kernel-lapic-timer-migration", "4.6.0", Severity.OK),
        ("kernel-timer-advance-nested", "5.0.21", Severity.NOTE),
        ("kernel-timer-advance-nested", "5.1", Severity.OK),
        ("kernel-vmstat-on-isolated-cpus", "6.4.16", Severity.NOTE),
        ("kernel-vmstat-on-isolated-cpus", "6.5.0", Severity.OK),
    ],
)
def test_known_bad_releases(tmp_path: Path, bug: str, release: str, severity: Severity) -> None:
    tree = tuned_rhel() | {
        _RELEASE: release,
        "/proc/cpuinfo": "vendor_id : GenuineIntel\nflags : hypervisor\n",
        "/sys/module/kvm_intel/parameters/preemption_timer": "Y\n",
    }
    assert _by_id(_examine(tmp_path, tree, TUNED_FACTS))[bug].severity is severity


def test_debian_says_the_release_in_the_build(tmp_path: Path) -> None:
    tree = tuned_rhel() | {
        _RELEASE: "6.12.0-50-amd64",
        "/proc/sys/kernel/version": "#1 SMP PREEMPT_RT Debian 6.12.64-1 (2026-01-20)",
        "/sys/module/kvm_intel/parameters/preemption_timer": "Y\n",
    }
    finding = _by_id(_examine(tmp_path, tree, TUNED_FACTS))["kernel-hv-timer-lockup"]
    assert finding.severity is Severity.OK
    assert "from Linux 6.12.64" in finding.evidence


def test_preemption_that_was_chosen_at_boot(tmp_path: Path) -> None:
    tree = laptop() | {"/proc/cmdline": "preempt=full\n"}
    assert _by_id(_examine(tmp_path, tree, LAPTOP_FACTS))["preemption-model"].severity is (
        Severity.OK
    )


def test_the_configuration_of_a_kernel_is_read() -> None:
    text = '# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D="x y"\n\n'
    assert parse_config(text) == {"CONFIG_B": "y", "CONFIG_C": "m", "CONFIG_D": "x y"}


def test_every_finding_says_all_that_it_must() -> None:
    assert len({check.id for check in HOST_CHECKS}) == len(HOST_CHECKS)
    for check in HOST_CHECKS:
        assert check.id == check.id.lower()
        assert check.asks.endswith(("?", "."))
        assert check.reads
        for text in (check.cost, check.cure, check.source):
            assert text
            assert not text.endswith(".")
        assert not check.knob or check.knob in KNOBS


def test_findings_come_worst_first_and_their_order_is_stable(tmp_path: Path) -> None:
    first = _examine(tmp_path, laptop(), LAPTOP_FACTS)
    second = _examine(tmp_path, laptop(), LAPTOP_FACTS)
    assert first == second
    ranks = [one.severity.rank for one in first.findings]
    assert ranks == sorted(ranks, reverse=True)


_JUNK = st.sampled_from(["", "0", "1", "-1", "Y", "junk", "0-", "4-2,x", "\x00", "999999999999"])


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[HostView, list[str]]]:
    """All trees, with the paths of their files."""
    made = []
    for tree in (tuned_rhel(), laptop(), nested_cloud(), arm_board()):
        places = [path for path in tree if not path.endswith(("/", ".gz"))]
        made.append((hosttrees.host(tmp_path_factory.mktemp("tree"), tree), places))
    return made


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_junk_in_any_file_is_no_crash(
    views: list[tuple[HostView, list[str]]], data: st.DataObject
) -> None:
    view, places = data.draw(st.sampled_from(views))
    chosen = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=6))
    junk = {path: data.draw(_JUNK) for path in chosen}

    def read(path: str) -> str | None:
        return junk[path] if path in junk else view.tree.read(path)

    spoilt = HostView(reader=read, tree=view.tree, config=view.config, facts=view.facts)
    assert diagnose("host", HOST_CHECKS, spoilt).findings


def test_this_machine_is_looked_at_fast_and_left_alone() -> None:
    before = (os.sched_getscheduler(0), os.sched_getaffinity(0))
    begin = time.process_time()
    found = diagnose("host", HOST_CHECKS, look())
    assert time.process_time() - begin < 1
    assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == before
    by_id = _by_id(found)
    assert str(len(os.sched_getaffinity(0))) <= by_id["cpu-count"].title
    assert by_id["preempt-rt"].evidence.startswith(f"{_RELEASE} = {os.uname().release}")
