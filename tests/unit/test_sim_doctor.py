"""What the doctor says about machines that have things, and lack them."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from fakes.sim_parts import make_build, make_spec
from vmjitter.effects.systree import SysTree
from vmjitter.errors import MissingCapability
from vmjitter.guest.apt import find_sources
from vmjitter.sim import doctor
from vmjitter.sim.doctor import Finding, examine

_GIB = 1 << 30
Usage = namedtuple("Usage", "free")  # noqa: PYI024 - as shutil has it


class Here:
    """A machine of which everything can be said."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.patch = monkeypatch
        monkeypatch.setenv("VMJITTER_CACHE", str(place / "cache/deep"))
        self.memory(4 * _GIB)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(20 * _GIB))
        monkeypatch.setattr(doctor, "find_sources", lambda *_: "deb")
        monkeypatch.setattr(doctor, "qemu_program", lambda: "qemu")
        monkeypatch.setattr(doctor, "qemu_version", lambda _: "7.2.22")

    def memory(self, available: int) -> None:
        proc = self.place / "proc"
        proc.mkdir(exist_ok=True)
        (proc / "meminfo").write_text(
            f"MemTotal:  99999999 kB\nMemAvailable:  {available // 1024} kB\n"
        )

    def findings(self, *assignments: str) -> dict[str, Finding]:
        tree = SysTree(root=self.place)
        return {finding.id: finding for finding in examine(make_spec(*assignments), tree)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(tmp_path, monkeypatch)


def test_a_machine_that_has_everything_needs_nothing(here: Here) -> None:
    findings = here.findings()
    assert list(findings) == ["processor", "build", "space", "memory", "real clock"]
    assert all(finding.ok for finding in findings.values())
    for name in ("processor", "space", "memory", "real clock"):
        assert not findings[name].cure
    assert "QEMU 7.2.22" in findings["real clock"].evidence


def test_what_is_not_in_the_cache_yet_can_be_made(here: Here) -> None:
    build = here.findings()["build"]
    assert build.ok
    assert build.evidence == "not in the cache yet"
    assert build.cure == "vmjitter sim build"


def test_what_is_in_the_cache_is_named(here: Here) -> None:
    here.patch.setattr(doctor, "find_build", lambda _: make_build(here.place))
    build = here.findings()["build"]
    assert build.ok
    assert not build.cure
    for words in ("bochs 3.0", "qemu-system-x86 1:7.2", "linux-image-6.1.0-9-cloud-amd64 6.1.9-1"):
        assert words in build.evidence


def test_without_apt_and_without_a_build_it_cannot_be_used(here: Here) -> None:
    def missing(*_: object) -> None:
        raise MissingCapability("no apt", hint="install it")

    here.patch.setattr(doctor, "find_sources", missing)
    build = here.findings()["build"]
    assert (build.ok, build.needed) == (False, True)
    assert build.evidence == "not in the cache yet, and no apt: install it"


def test_another_processor(here: Here) -> None:
    name = os.uname_result(("Linux", "h", "6.1", "#1", "aarch64"))
    here.patch.setattr("vmjitter.sim.doctor.os.uname", lambda: name)
    processor = here.findings()["processor"]
    assert (processor.ok, processor.needed) == (False, True)
    assert processor.evidence.startswith("aarch64, ")
    assert "x86-64" in processor.cure


def test_a_full_disk_is_judged_where_the_cache_will_be(here: Here) -> None:
    asked: list[Path] = []

    def usage(place: Path) -> Usage:
        asked.append(place)
        return Usage(_GIB)

    here.patch.setattr(shutil, "disk_usage", usage)
    space = here.findings()["space"]
    assert not space.ok
    assert asked == [here.place]
    assert "1.0 GiB free" in space.evidence
    assert "VMJITTER_CACHE" in space.cure


@pytest.mark.parametrize(
    ("gib", "machine", "ok", "hosts"),
    [(4, "2G", True, "1 hosts"), (13, "2G", True, "6 hosts"), (2, "2G", False, "0 hosts")],
)
def test_memory_for_how_many(here: Here, gib: int, machine: str, hosts: str, *, ok: bool) -> None:
    here.memory(gib * _GIB)
    memory = here.findings(f"sim.memory={machine}")["memory"]
    assert memory.ok is ok
    assert f"room for {hosts} of paper-2012" in memory.evidence
    assert bool(memory.cure) is not ok


def test_a_system_that_says_nothing_of_its_memory(here: Here) -> None:
    (here.place / "proc/meminfo").unlink()
    assert not here.findings()["memory"].ok


def test_without_qemu_only_the_real_clock_is_missing(here: Here) -> None:
    def missing() -> str:
        raise MissingCapability("no QEMU", hint="install QEMU")

    here.patch.setattr(doctor, "qemu_program", missing)
    real = here.findings()["real clock"]
    assert real == Finding(
        id="real clock", ok=False, evidence="no QEMU", cure="install QEMU", needed=False
    )


def test_looking_changes_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    targets = "echo 'http://m.invalid/debian/|trixie|main|Debian'"
    for name in ("apt-get", "apt-cache", "apt-config", "dpkg-deb"):
        (programs / name).write_text(f"#!/bin/sh\n{targets}\n")
        (programs / name).chmod(0o755)
    keyring = tmp_path / "keyring"
    keyring.touch()
    monkeypatch.setattr(doctor, "find_sources", find_sources)
    monkeypatch.setattr("vmjitter.guest.apt._KEYRINGS", (keyring,))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("VMJITTER_CACHE", str(tmp_path / "cache"))
    assert here.findings()["build"].ok
    assert not (tmp_path / "cache").exists()


def test_findings_become_plain_data() -> None:
    finding = Finding(id="x", ok=True, evidence="y")
    assert dataclasses.asdict(finding) == {
        "id": "x", "ok": True, "evidence": "y", "cure": "", "needed": True
    }  # fmt: skip
