"""`vmjitter doctor`: what it prints, its statuses, its mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes import hosttrees
from fakes.hosttrees import FakeThread, arm_board, laptop, qemu, tuned_rhel
from vmjitter.cli import doctor_cmd, run
from vmjitter.doctor.boot import Booted
from vmjitter.doctor.finding import Diagnosis, Finding, Severity
from vmjitter.doctor.kernel_view import KernelView
from vmjitter.model.plan import Accel, Plan

_FIELDS = {"id", "severity", "title", "evidence", "cost", "cure", "source", "knob", "needs"}


def _tree(root: Path, files: dict[str, str]) -> str:
    return str(hosttrees.write(root, files))


def test_json_is_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json", "--root", _tree(tmp_path, arm_board())]) == 3
    data = json.loads(capsys.readouterr().out)
    assert data["format"] == 1
    assert data["subject"] == "host"
    assert data["worst"] == "problem"
    assert all(set(one) == _FIELDS for one in data["findings"])
    assert {one["id"] for one in data["unknown"]} >= {"kvm", "qemu", "realtime-policy"}
    throttling = next(one for one in data["findings"] if one["id"] == "realtime-throttling")
    assert throttling["knob"] == "rt-throttling-off"
    assert throttling["needs"] == "nothing"
    assert throttling["severity"] == "problem"
    well = [one for one in data["findings"] if one["severity"] == "ok"]
    assert well
    assert all(one["evidence"] and not one["cure"] and not one["cost"] for one in well)


@pytest.mark.parametrize(("files", "status"), [(tuned_rhel(), 0), (arm_board(), 3), (laptop(), 3)])
def test_the_status_says_the_worst(
    tmp_path: Path, files: dict[str, str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    cured = dict(files)
    if status == 0:  # what a copied tree cannot say: that tuned holds the latency low
        cured["/sys/devices/system/cpu/cpu2/cpuidle/state3/disable"] = "1"
    assert run(["doctor", "--root", _tree(tmp_path, cured)]) == status
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("severities", "status"),
    [
        ((), 0),
        ((Severity.OK, Severity.NOTE), 0),
        ((Severity.NOTE, Severity.WARNING), 3),
        ((Severity.PROBLEM, Severity.OK), 3),
        ((Severity.BLOCKER,), 4),
    ],
)
def test_statuses(severities: tuple[Severity, ...], status: int) -> None:
    findings = tuple(
        Finding(id=str(n), severity=one, title="t", evidence="e")
        for n, one in enumerate(severities)
    )
    assert Diagnosis(subject="host", findings=findings).exit_status == status


@pytest.mark.parametrize("width", [60, 80, 120])
def test_text_keeps_to_the_width(
    tmp_path: Path,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    run(["doctor", "--all", "--root", _tree(tmp_path, laptop())])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("problem  Real-time threads that use a CPU up are")
    for line in lines:
        if len(line) > min(width, 100):  # only a path, or an option, that must not be broken
            assert " " not in line[11:], line
    assert not [line for line in lines if line != line.rstrip()]
    assert "\x1b" not in "".join(lines)


def test_colour_is_for_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(["doctor", "--root", _tree(tmp_path, arm_board())])
    text = capsys.readouterr().out
    assert "\x1b[31mproblem\x1b[0m" in text


def test_what_is_well_is_shown_on_request_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = _tree(tmp_path, arm_board())
    run(["doctor", "--root", tree])
    brief = capsys.readouterr().out
    run(["doctor", "--all", "--root", tree])
    whole = capsys.readouterr().out
    assert "\nok  " not in brief
    assert "ok  The clock is read fast  clocksource" in whole
    assert "--all shows everything" in " ".join(brief.split())
    assert "--all" not in whole
    assert "not seen" in brief
    # of a problem everything is said, of a note only what was found and the cure
    assert "sched(7)" in brief
    assert "irq-affinity.rst" not in brief
    assert "irq-affinity.rst" in whole


def test_a_machine_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = [
        FakeThread(tid=50, name="qemu-system-x86", cpus="2"),
        FakeThread(tid=51, name="CPU 0/KVM", cpus="2", policy=1, priority=1),
    ]
    tree = _tree(tmp_path, tuned_rhel() | qemu(50, ["-nodefaults"], threads))
    assert run(["doctor", "--vm", "50", "--root", tree]) == 4
    text = capsys.readouterr().out
    assert text.startswith("blocker  A real-time vCPU starves QEMU's main loop")
    assert "emulator-pin (vmjitter applies it and takes it back)" in text
    assert "QEMU 50: 1 blocker" in text


def test_a_guest_is_booted_as_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plans: list[Plan] = []

    @contextmanager
    def boot(plan: Plan, _say: object) -> Iterator[Booted]:
        plans.append(plan)
        files = {"/proc/sys/kernel/osrelease": "6.1", "/proc/sys/kernel/version": "PREEMPT_RT"}
        yield Booted(
            view=KernelView(reader=files.get),
            kernel="6.1-rt",
            accel=Accel.TCG,
            accel_reason="no /dev/kvm",
            pid=1,
        )

    monkeypatch.setattr(doctor_cmd, "booted", boot)
    arguments = ["doctor", "--guest", "--set", "guest.kernel=debian-rt-amd64", "--json"]
    assert run(arguments) == 0
    assert plans[0].guest.kernel == "debian-rt-amd64"
    data = json.loads(capsys.readouterr().out)
    assert data["subject"] == "guest 6.1-rt under tcg, not KVM: no /dev/kvm"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--guest", "--vm", "1"], "exclude each other"),
        (["--guest", "--root", "/"], "cannot be booted from a copied tree"),
        (["--set", "guest.kernel=x"], "add --guest"),
        (["--vm", "4194304"], "there is no process 4194304"),
        (["--root", "/nowhere"], "/nowhere holds no /proc"),
        (["--vm", "qemu"], "'--vm'"),
    ],
)
def test_mistakes_are_usage_errors(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_help_says_what_the_status_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "0 nothing worse than a note, 3 a warning or a problem, 4 a blocker" in text
    assert "vmjitter doctor --guest" in text
