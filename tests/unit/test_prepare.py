"""KVM or not, and what is known about the host."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vmjitter.config.resolve import Choices, resolve
from vmjitter.effects.systree import SysTree
from vmjitter.errors import MissingCapability
from vmjitter.guest.image import GuestImage
from vmjitter.guest.kernels import KernelFiles
from vmjitter.model.plan import Accel, Plan
from vmjitter.qemu.cmdline import Machine
from vmjitter.session import prepare

IMAGE = GuestImage(
    kernel=KernelFiles(
        name="k",
        vmlinuz=Path("/k"),
        modules=None,
        release="6.1",
        arch="i386",
        package="",
        package_version="",
        sha256="0" * 64,
    ),
    initramfs=Path("/i"),
    sha256="1" * 64,
    modules=(),
)


def _plan(accel: Accel = Accel.AUTO) -> Plan:
    plan = resolve("paper", Choices(only=["kernel"])).plan
    return dataclasses.replace(plan, guest=dataclasses.replace(plan.guest, accel=accel))


def _choose(plan: Plan) -> tuple[Accel, str]:
    return prepare.choose_accel(plan, plan.scenarios[0], IMAGE, lambda _: None)


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Machine]:
    """KVM seems to be there; boots are recorded and succeed unless a test says otherwise."""
    booted: list[Machine] = []

    def try_kvm(machine: Machine) -> str:
        booted.append(machine)
        return ""

    monkeypatch.setenv("VMJITTER_CACHE", str(tmp_path))
    monkeypatch.setattr(prepare, "_kvm_missing", lambda _: "")
    monkeypatch.setattr(prepare, "qemu_program", lambda: "qemu")
    monkeypatch.setattr(prepare, "qemu_version", lambda _: "7.2")
    monkeypatch.setattr(prepare, "_try_kvm", try_kvm)
    return booted


def test_kvm_that_boots_the_guest_is_used_and_tried_once(trials: list[Machine]) -> None:
    assert _choose(_plan()) == (Accel.KVM, "")
    assert _choose(_plan()) == (Accel.KVM, "")
    assert [machine.accel for machine in trials] == [Accel.KVM]


@pytest.mark.usefixtures("trials")
def test_kvm_that_does_not_boot_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_try_kvm", lambda _: "it hangs")
    assert _choose(_plan()) == (Accel.TCG, "it hangs")
    with pytest.raises(MissingCapability, match="does not work here: it hangs") as error:
        _choose(_plan(Accel.KVM))
    assert "auto" in error.value.hint


def test_tcg_on_request_tries_nothing(trials: list[Machine]) -> None:
    assert _choose(_plan(Accel.TCG)) == (Accel.TCG, "")
    assert trials == []


def test_without_the_device_there_is_a_reason(tmp_path: Path) -> None:
    assert prepare._kvm_missing(SysTree(root=tmp_path)) == "/dev/kvm does not exist"


def test_each_scenario_gets_the_modules_of_its_devices_only() -> None:
    plan = resolve("paper", Choices()).plan
    emulated, mitigated = plan.scenarios[2], plan.scenarios[3]
    assert "e1000" in prepare.guest_modules(emulated)
    assert not [name for name in prepare.guest_modules(emulated) if "virtio" in name]
    assert "virtio_net" in prepare.guest_modules(mitigated)
    assert "e1000" not in prepare.guest_modules(mitigated)


def test_facts_of_a_host_that_hides_some(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text("Linux version 6.1.0 (x) #1 SMP PREEMPT_RT\n")
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: i5-2400\n")
    facts = prepare.host_facts(SysTree(root=tmp_path))
    assert facts["cpu"] == "i5-2400"
    assert facts["kernel"].startswith("Linux version 6.1.0")
    assert facts["clocksource"] == ""
