"""Knobs that need a device, an own CPU for each virtual one, or that change the console."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.fake_qemu import fake_qemu
from unit.test_knobs import host
from unit.test_qemu_cmdline import MACHINE, RESOURCES
from vmjitter.effects.systree import SysTree
from vmjitter.guest.channel import Reply
from vmjitter.model.plan import Accel, Disk, Network, Scenario, Where
from vmjitter.qemu.cmdline import Console, qemu_argv
from vmjitter.session.prepare import guest_modules
from vmjitter.tuning.change import Change
from vmjitter.tuning.console import with_console
from vmjitter.tuning.guest_files import GuestFiles
from vmjitter.tuning.knob import LaunchKnob
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.media.held import NO_REQUEST, SOFTWARE_STAMPS, STAMPS, Held
from vmjitter.tuning.target import find_target


def argv(kind: Console) -> str:
    return " ".join(qemu_argv("qemu", with_console(MACHINE, kind), RESOURCES))


def test_the_bell_is_the_second_port_whatever_the_console() -> None:
    assert all("-device isa-serial,index=1,chardev=bell" in argv(kind) for kind in Console)


def test_serial_virtio_and_no_console() -> None:
    assert "console.log -serial chardev:console" in argv(Console.SERIAL)
    assert "virt" not in argv(Console.SERIAL)
    virtio = argv(Console.VIRTIO)
    assert "console.log,mux=on -serial chardev:console" in virtio
    assert "-device virtio-serial-pci,max_ports=1 -device virtconsole,chardev=console" in virtio
    assert "chardev:console" not in argv(Console.NONE)
    assert "-serial none" in argv(Console.NONE)


@given(st.lists(st.sampled_from(list(Console)), max_size=4), st.sampled_from(list(Console)))
def test_the_last_kind_of_console_is_the_only_one(before: list[Console], last: Console) -> None:
    machine = replace(MACHINE, append="console=ttyS0 quiet user=word")
    expected = with_console(machine, last)
    for kind in before:
        machine = with_console(machine, kind)
    assert with_console(machine, last) == expected
    words = expected.append.split()
    assert [word for word in words if word in {"quiet", "user=word"}] == ["quiet", "user=word"]
    assert ("console=ttyS0" in words) == (last is Console.SERIAL)
    # the early console must not write before it is told to be quiet
    assert "earlyprintk=serial,ttyS0" not in words[: words.index("quiet")]


def test_an_image_has_the_modules_of_its_knobs() -> None:
    scenario = Scenario(
        name="any", title="", where=Where.GUEST, loads=(), disk=Disk.NONE, network=Network.NONE,
        vhost=False, knobs=(), paper_max_ns=None,
    )  # fmt: skip
    assert guest_modules(scenario) == ()
    with_knob = replace(scenario, knobs=("console-virtio",))
    assert guest_modules(with_knob) == ("virtio_pci", "virtio_console")


def test_vhost_net_says_what_is_missing(tmp_path: Path) -> None:
    knob, here = KNOBS["vhost-net"], host(tmp_path)
    (tmp_path / "dev/net").mkdir(parents=True)
    assert "/dev/vhost-net does not exist: load the module, modprobe vhost_net" in knob.missing(
        here
    )
    (tmp_path / "dev/vhost-net").touch()
    assert "/dev/net/tun does not exist: load the module, modprobe tun" in knob.missing(here)
    (tmp_path / "dev/net/tun").touch()
    assert knob.missing(here) == ""
    (tmp_path / "proc/self").mkdir(parents=True)
    status = tmp_path / "proc/self/status"
    for mask, lacking in (
        ("000001ffffffffff", ""),
        ("0000000000000000", "CAP_NET_ADMIN and CAP_SYS_ADMIN"),
        ("0000000000001000", "CAP_SYS_ADMIN"),
    ):
        status.write_text(f"Name:\tpython\nCapEff:\t{mask}\n")
        assert (f"a tap device takes {lacking}" in knob.missing(here)) == bool(lacking)
        assert bool(knob.missing(here)) == bool(lacking)


def test_threads_of_a_device_that_is_not_there(tmp_path: Path) -> None:
    for name, device in {
        "vhost-pin": "vhost-net", "vhost-fifo": "vhost-net", "kvm-pit-rr": "kvm",
    }.items():  # fmt: skip
        here = host(tmp_path / name)
        assert f"/dev/{device} does not exist" in KNOBS[name].missing(here)
        (tmp_path / name / "dev").mkdir(parents=True)
        (tmp_path / name / "dev" / device).touch()
        assert KNOBS[name].missing(here) == ""


class _ReadOnly(SysTree):
    def usable(self, path: str) -> bool:  # noqa: ARG002
        return False


def test_a_device_that_may_not_be_opened(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/vhost-net").touch()
    here = replace(host(), tree=_ReadOnly(root=tmp_path))
    assert "/dev/vhost-net cannot be opened" in KNOBS["vhost-net"].missing(here)


def test_what_needs_kvm_needs_its_device(tmp_path: Path) -> None:
    knobs = [knob for knob in KNOBS.values() if isinstance(knob, LaunchKnob) and knob.needs_kvm]
    assert {"cpu-pm", "pit-discard"} <= {knob.name for knob in knobs}
    for knob in knobs:
        assert "/dev/kvm does not exist" in knob.missing(host(tmp_path))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kvm").touch()
    assert {knob.missing(host(tmp_path)) for knob in knobs} == {""}
    tcg = replace(host(tmp_path), accel=Accel.TCG)
    assert {knob.missing(tcg) for knob in knobs} == {"the guest does not run under KVM"}


@pytest.mark.parametrize(("vcpus", "fits"), [(0, True), (1, True), (2, True), (3, False)])
def test_each_virtual_cpu_is_pinned_to_its_own_or_none(vcpus: int, *, fits: bool) -> None:
    why = KNOBS["vcpu-pin"].missing(replace(host(), vcpus=vcpus))
    assert (why == "") == fits
    assert fits or "3 virtual CPUs, and only CPU 2-3 for them" in why


def test_a_running_qemu_tells_how_many_virtual_cpus_it_has() -> None:
    with fake_qemu() as pid:
        target = find_target(replace(host(), guest_cpus=frozenset({3})), pid)
        assert target.host.vcpus == 2
        assert "only CPU 3 for them" in KNOBS["vcpu-pin"].missing(target.host)
        assert len(KNOBS["vcpu-pin"].on_threads(target)) == 1, "no CPU twice, whoever asks"


def test_interrupts_of_a_guest_with_one_virtual_cpu_have_nowhere_to_go() -> None:
    knob = KNOBS["guest-irq-affinity"]
    assert "set guest.vcpus = 2" in knob.missing(replace(host(), vcpus=1))
    assert {knob.missing(replace(host(), vcpus=count)) for count in (0, 2, 8)} == {""}


class _Shell:
    """An agent that runs commands here."""

    def call(self, verb: str, *argv: str) -> Reply:
        assert verb == "run"
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return Reply(status=done.returncode, text=done.stdout)


def test_a_star_stands_for_each_file_that_there_is_in_the_guest(tmp_path: Path) -> None:
    for name in ("irq 0", "irq 1", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list").touch()
    (tmp_path / "irq 2").mkdir()
    shell: Any = _Shell()
    files = GuestFiles(shell)
    plain = Change(medium="guest-file", place="/no/star", wanted="1")
    starred = Change(medium="guest-file", place="irq*/list", wanted="0", optional=True)
    nothing = Change(medium="guest-file", place="none*/list", wanted="0")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        found = files.expand([plain, starred, nothing])
    finally:
        os.chdir(before)
    assert found == (
        plain,
        replace(starred, place="irq 0/list"),
        replace(starred, place="irq 1/list"),
    )


def test_a_real_socket_is_held_and_let_go(tmp_path: Path) -> None:
    medium = Held(SysTree(root=tmp_path))
    before = _sockets()
    assert medium.read(STAMPS) == NO_REQUEST
    medium.write(STAMPS, SOFTWARE_STAMPS)
    assert (medium.read(STAMPS), len(_sockets() - before)) == (SOFTWARE_STAMPS, 1)
    assert Held(SysTree(root=tmp_path)).read(STAMPS) == NO_REQUEST, "it is our own"
    medium.write(STAMPS, NO_REQUEST)
    assert (medium.read(STAMPS), _sockets()) == (NO_REQUEST, before)


def _sockets() -> set[str]:
    names = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.add(str(entry.readlink()))
        except FileNotFoundError:  # the directory's own descriptor
            continue
    return {name for name in names if name.startswith("socket:")}


def test_stamps_need_a_kernel_with_a_network(tmp_path: Path) -> None:
    assert "CONFIG_INET" in KNOBS["timestamp-guard"].missing(host(tmp_path))
