"""The process that serves a guest's disk: its command line, its life, and the knobs about it."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.fake_qemu import fake_qemu
from vmjitter.config.resolve import Choices, resolve
from vmjitter.doctor.vm.options import parse
from vmjitter.effects.process import on_cpus
from vmjitter.effects.threads import threads
from vmjitter.errors import MissingCapability, StorageDaemonDied
from vmjitter.model.plan import Accel, Disk, Network
from vmjitter.qemu import storage_daemon
from vmjitter.qemu.cmdline import Machine, Resources, qemu_argv
from vmjitter.qemu.storage_daemon import StorageDaemon, storage_daemon_argv
from vmjitter.session.outcome import Outcome
from vmjitter.session.tuning import Tuning
from vmjitter.tracing.threads import own_roles
from vmjitter.tuning.byhand import how
from vmjitter.tuning.knob import Host
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.target import find_target

MACHINE = Machine(
    accel=Accel.TCG,
    kernel=Path("/k/vmlinuz"),
    initramfs=Path("/k/initramfs"),
    append="",
    memory_bytes=64 << 20,
    vcpus=2,
    disk=Disk.VIRTIO,
    network=Network.NONE,
    vhost=False,
)
OUTSIDE = replace(MACHINE, vhost_user_blk=True)
HOST = Host(guest_cpus=frozenset({1}), other_cpus=frozenset({0}), guest_bytes=64 << 20)
RESOURCES = Resources(
    console_log=Path("/console.log"),
    qmp_fd=5,
    bell_fd=6,
    shm_path="/proc/self/fd/3",
    shm_bytes=1 << 20,
    scratch_path="/proc/self/fd/4",
    direct=True,
    tap_fd=None,
    vhost_fd=None,
    storage_fd=9,
)
GET_FEATURES = 1
"""Number of a request, docs/interop/vhost-user in QEMU's manual."""


def qemu_text(machine: Machine, *, direct: bool = True) -> str:
    return " ".join(qemu_argv("qemu", machine, replace(RESOURCES, direct=direct)))


def test_qemu_gets_a_socket_and_shared_memory_but_no_image() -> None:
    text = qemu_text(OUTSIDE)
    assert "-chardev socket,id=storage,fd=9" in text
    assert "-device vhost-user-blk-pci,chardev=storage,num-queues=2" in text
    assert "memory-backend-memfd,id=ram,size=64M,share=on" in text
    assert "-machine memory-backend=ram" in text
    assert "blockdev" not in text
    assert "/proc/self/fd/4" not in text


def test_memory_is_shared_with_nobody_otherwise() -> None:
    assert "share=off" in qemu_text(replace(MACHINE, prealloc=True))
    assert "memory-backend-memfd" not in qemu_text(MACHINE)


@given(prealloc=st.booleans(), huge=st.sampled_from([0, 2 << 20]))
def test_memory_stays_shared_whatever_else_is_asked_of_it(*, prealloc: bool, huge: int) -> None:
    text = qemu_text(replace(OUTSIDE, prealloc=prealloc, huge_page_bytes=huge))
    assert text.count("memory-backend-memfd") == 1
    assert "share=on" in text
    assert ("prealloc=on" in text) == prealloc
    assert ("hugetlb=on,hugetlbsize=2M" in text) == bool(huge)


@pytest.mark.parametrize("cache", ["", "none", "writeback"])
@pytest.mark.parametrize("aio", ["threads", "native", "io_uring"])
@pytest.mark.parametrize("direct", [True, False])
def test_both_access_the_image_alike(cache: str, aio: str, *, direct: bool) -> None:
    machine = replace(MACHINE, cache=cache, aio=aio)
    argv = storage_daemon_argv("d", machine, image="/proc/self/fd/4", direct=direct, listen_fd=8)
    resources = replace(RESOURCES, direct=direct)
    theirs = [o.text for o in parse(qemu_argv("q", machine, resources)) if o.name == "blockdev"]
    ours = [o.text for o in parse(argv) if o.name == "blockdev"]
    assert ours == theirs
    bypasses = direct and cache != "writeback"
    assert f"cache.direct={'on' if bypasses else 'off'}" in ours[0]
    assert ("aio=native" in ours[0]) == (aio == "native" and bypasses)


def test_commas_in_the_images_path_are_written_twice() -> None:
    argv = storage_daemon_argv("d", MACHINE, image="/a,b", direct=True, listen_fd=8)
    assert parse(argv)[0].keys["filename"] == "/a,b"


@pytest.fixture
def image(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "image"
    path.write_bytes(bytes(1 << 20))
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def daemon(image: int, tmp_path: Path) -> Iterator[StorageDaemon]:
    with StorageDaemon(MACHINE, image_fd=image, direct=False, log=tmp_path / "log") as running:
        yield running


def features(daemon: StorageDaemon) -> int:
    """What the other end of the socket says that it can do."""
    with socket.socket(fileno=os.dup(daemon.fileno())) as qemu:
        qemu.settimeout(10)
        qemu.sendall(struct.pack("=III", GET_FEATURES, 1, 0))
        said = b""
        while len(said) < 20 and (more := qemu.recv(20 - len(said))):
            said += more
        request, _, size, answer = struct.unpack("=IIIQ", said)
    assert (request, size) == (GET_FEATURES, 8)
    return int(answer)


def test_it_answers_on_a_socket_without_a_name_in_any_file_system(
    daemon: StorageDaemon, tmp_path: Path
) -> None:
    assert features(daemon) & 1 << 9, "VIRTIO_BLK_F_FLUSH, virtio 1.2, section 5.2.3"
    with socket.socket(fileno=os.dup(daemon.fileno())) as qemu:
        assert qemu.getpeername().startswith(b"\0")
    assert [path for path in tmp_path.iterdir() if stat.S_ISSOCK(path.stat().st_mode)] == []
    assert (tmp_path / "log").read_text().startswith(daemon.argv[0])
    daemon.check_alive()


def test_it_serves_nobody_else(daemon: StorageDaemon) -> None:
    with socket.socket(fileno=os.dup(daemon.fileno())) as qemu:
        name = qemu.getpeername()
    features(daemon)  # it has let us in
    with socket.socket(socket.AF_UNIX) as second:
        second.settimeout(0.5)
        second.connect(name)
        second.sendall(struct.pack("=III", GET_FEATURES, 1, 0))
        try:
            said = second.recv(20)
        except (ConnectionResetError, TimeoutError):
            said = b""
        assert said == b""
    daemon.check_alive()


def test_its_threads_are_known_by_their_role(daemon: StorageDaemon) -> None:
    features(daemon)  # the guard before it has become the daemon
    roles = own_roles(None)
    assert {roles[one.tid]["role"] for one in threads(daemon.child.pid)} == {"storage daemon"}


def test_its_death_is_one_error_with_its_last_words(daemon: StorageDaemon) -> None:
    features(daemon)
    os.kill(daemon.child.pid, signal.SIGKILL)
    select.select([daemon.child], [], [], 10)
    with pytest.raises(StorageDaemonDied, match="guest's disk, ended by signal 9") as caught:
        daemon.check_alive()
    assert "vhost-user-blk" in caught.value.hint
    assert "--export" in caught.value.evidence
    daemon.close()
    daemon.close()


def test_a_death_that_is_seen_after_qemus_is_waited_for(
    image: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "qemu-storage-daemon"
    program.write_text('#!/bin/sh\nsleep 0.3; echo "bad option" >&2; exit 7\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(storage_daemon, "_BESIDE_S", 10.0)
    log = tmp_path / "log"
    with StorageDaemon(MACHINE, image_fd=image, direct=False, log=log) as running:
        running.check_alive()
        with pytest.raises(StorageDaemonDied, match="with status 7") as caught:
            running.check_alive(qemu_ended=True)
    assert "bad option" in caught.value.evidence


def test_it_keeps_to_qemus_cpus(image: int, tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    log = tmp_path / "log"
    with StorageDaemon(MACHINE, image_fd=image, direct=False, log=log, cpus=[cpu]) as running:
        features(running)
        assert {frozenset(os.sched_getaffinity(one.tid)) for one in threads(running.child.pid)} == {
            frozenset({cpu})
        }
    assert on_cpus(()) == ()


def test_a_program_that_is_not_there_is_named_with_debians_packages(
    image: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(MissingCapability, match="qemu-storage-daemon") as caught:
        StorageDaemon(MACHINE, image_fd=image, direct=False, log=tmp_path / "log")
    assert "qemu-utils" in caught.value.hint
    assert len(sorted(Path("/proc/self/fd").iterdir())) == len(before), "no descriptor is left"
    why = KNOBS["vhost-user-blk"].missing(HOST)
    assert "'qemu-storage-daemon' is not installed" in why
    assert "qemu-system-common" in why


def test_a_program_that_is_there_is_no_obstacle() -> None:
    assert KNOBS["vhost-user-blk"].missing(HOST) == ""


@pytest.mark.parametrize(
    ("name", "machine", "why"),
    [
        ("vhost-user-blk", replace(MACHINE, disk=Disk.IDE), "only a virtio disk"),
        ("vhost-user-blk", replace(MACHINE, disk=Disk.NONE), "only a virtio disk"),
        ("vhost-user-blk", replace(MACHINE, iothread=True), "leave out iothread"),
        ("iothread", OUTSIDE, "qemu-storage-daemon serves the disk"),
    ],
)
def test_what_cannot_be_together_is_refused(name: str, machine: Machine, why: str) -> None:
    with pytest.raises(MissingCapability, match=why):
        KNOBS[name].on_machine(machine, HOST)


def test_the_cache_can_be_gone_through_and_bypassed_again() -> None:
    through = KNOBS["cache-writeback"].on_machine(MACHINE, HOST)
    assert qemu_text(MACHINE).count("cache.direct=on") == 2
    assert qemu_text(through).count("cache.direct=off") == 2
    again = KNOBS["cache-direct"].on_machine(through, HOST)
    assert qemu_text(again) == qemu_text(MACHINE)


def test_a_cache_that_cannot_be_bypassed_is_said() -> None:
    with pytest.raises(MissingCapability, match=r"no O_DIRECT: .*disk\.dir"):
        KNOBS["cache-direct"].on_machine(MACHINE, replace(HOST, direct=False))
    assert "cache.direct=on" not in qemu_text(MACHINE, direct=False)


def test_what_is_refused_is_a_deviation_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMJITTER_STATE_DIR", str(tmp_path))
    plan = resolve("paper", Choices()).plan
    knobs = ("cache-direct", "vhost-user-blk", "iothread")
    scenario = replace(plan.scenarios[0], knobs=knobs)
    outcome = Outcome()
    with Tuning(plan, scenario, Accel.TCG, outcome) as tuning:
        tuning.host()
        assert tuning.machine(MACHINE, direct=False) == OUTSIDE
    first, second = outcome.deviations
    assert first.startswith("without cache-direct: the file system of the disk image has no")
    assert second == "without iothread: not QEMU but qemu-storage-daemon serves the disk"


def test_no_knob_ignores_the_guests_flushes() -> None:
    for name in KNOBS:
        assert "unsafe" not in how(KNOBS[name], HOST)
        assert "no-flush=on" not in how(KNOBS[name], HOST)
    assert "cache-unsafe" not in KNOBS


def test_what_to_write_by_hand() -> None:
    words = how(KNOBS["vhost-user-blk"], HOST)
    assert "qemu-storage-daemon --blockdev driver=file" in words
    assert "addr.type=unix,addr.path=SOCKET" in words
    assert "qemu -chardev socket,id=storage,path=SOCKET" in words
    assert "share=on" in words
    assert "fd=" not in words
    assert "cache.direct=on" in how(KNOBS["cache-direct"], HOST)
    assert "cache.direct=off" in how(KNOBS["cache-writeback"], HOST)


def test_priorities_and_cpus_of_the_disks_threads_are_the_daemons_too(
    daemon: StorageDaemon,
) -> None:
    features(daemon)
    with fake_qemu() as pid:
        serving = threads(daemon.child.pid)
        target = replace(find_target(HOST, pid), storage=serving)
        wanted = {
            name: [c.wanted for c in knob.on_threads(target) if c.title.startswith("qemu-stor")]
            for name, knob in KNOBS.items()
            if name != "kthreads-fifo"
        }
    assert {name: set(values) for name, values in wanted.items() if values} == {
        "emulator-pin": {"0"},
        "iothread-fifo": {"fifo 2"},
    }
    assert len(wanted["emulator-pin"]) == len(serving)
