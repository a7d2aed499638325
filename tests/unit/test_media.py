"""Places that hold settings: what is written is read, and means the same."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import thread
from vmjitter.tuning.knobs.workqueues import cpu_mask
from vmjitter.tuning.media import media
from vmjitter.tuning.media.dropin import ABSENT, DropIn
from vmjitter.tuning.media.file import File, same_value
from vmjitter.tuning.media.held import NO_REQUEST, Held
from vmjitter.tuning.media.policy import SchedPolicy
from vmjitter.tuning.media.thread import still_runs, thread_place, tid_of, tid_or_error


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        with suppress(OSError):
            child.kill()


def place_of(pid: int) -> str:
    one = thread(pid)
    assert one is not None
    return thread_place(one)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0,2", "2", False),  # CPUs, not a mask
        ("0-1", "1", False),
        ("0,00000003", "3", True),  # a mask of 36 CPUs
        ("00000000,00000000,0000000f", "f", True),
        ("1,00000000", "00000001,00000000", True),
        ("1,00000000", "1", False),
        ("0", "00000000", True),
        ("max 100000", "max  100000", True),
        ("N", "0", False),
    ],
)
def test_lists_and_masks_are_told_apart(one: str, other: str, *, same: bool) -> None:
    assert same_value(one, other) is same


@given(st.frozensets(st.integers(0, 300), min_size=1))
def test_a_mask_is_read_as_the_kernel_writes_it(cpus: frozenset[int]) -> None:
    digits = f"{sum(1 << cpu for cpu in cpus):x}"
    width = -(-300 // 32) * 8
    padded = digits.rjust(width, "0")
    kernel = ",".join(padded[at : at + 8] for at in range(0, width, 8))
    assert same_value(cpu_mask(cpus), kernel)
    assert int(cpu_mask(cpus).replace(",", ""), 16) == int(digits, 16)
    assert all(len(group) <= 8 for group in cpu_mask(cpus).split(","))


def test_a_drop_in_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    medium = DropIn(SysTree(root=tmp_path))
    assert medium.read("/kvm.conf") == ABSENT
    medium.write("/kvm.conf", "options kvm x=1\n")
    assert medium.read("/kvm.conf") == "options kvm x=1\n"
    medium.write("/kvm.conf", ABSENT)
    medium.write("/kvm.conf", ABSENT)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(struct.pack("=i", 2_000_000_000))
    return path


def test_a_request_is_held_and_let_go(tmp_path: Path, device: Path) -> None:
    medium = Held(SysTree(root=tmp_path))
    assert medium.read("/device") == NO_REQUEST
    medium.write("/device", "0")
    assert medium.read("/device") == "0"
    assert device.resolve() in open_files()
    medium.write("/device", "5")
    assert medium.read("/device") == "5"
    assert open_files().count(device.resolve()) == 1, "one descriptor, not two"
    medium.write("/device", NO_REQUEST)
    assert device.resolve() not in open_files()
    assert medium.read("/device") == NO_REQUEST
    assert Held(SysTree(root=tmp_path)).read("/nowhere") is None


def test_another_process_sees_no_request_of_its_own(tmp_path: Path, device: Path) -> None:
    holder = Held(SysTree(root=tmp_path))
    holder.write("/device", "0")
    try:
        assert Held(SysTree(root=tmp_path)).read("/device") == NO_REQUEST
    finally:
        holder.write("/device", NO_REQUEST)
    assert device.exists()


def test_a_request_that_is_no_number_leaves_no_descriptor(tmp_path: Path, device: Path) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Held(SysTree(root=tmp_path)).write("/device", "fast")
    assert device.resolve() not in open_files()


def open_files() -> list[Path]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(entry.readlink())
    return found


def test_a_thread_that_ended_is_no_place(child: subprocess.Popen[bytes]) -> None:
    place = place_of(child.pid)
    assert tid_of(place) == child.pid
    assert still_runs(place)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not still_runs(place), "a zombie does not run"
    child.wait()
    assert tid_of(place) is None
    assert not still_runs(place)
    with pytest.raises(ProcessLookupError):
        tid_or_error(place)
    assert SchedPolicy().read(place) is None


def test_policies_without_rights(child: subprocess.Popen[bytes]) -> None:
    place, medium = place_of(child.pid), SchedPolicy()
    assert medium.read(place) == "other"
    medium.write(place, "batch")
    assert medium.read(place) == "batch"
    medium.write(place, "other")
    assert medium.read(place) == "other"
    for nonsense in ("deadline", "fast 3"):
        with pytest.raises(OSError, match="no policy"):
            medium.write(place, nonsense)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for real-time: run as root")
def test_real_time_policies(child: subprocess.Popen[bytes]) -> None:
    place, medium = place_of(child.pid), SchedPolicy()
    for value in ("fifo 1", "rr 99", "fifo 99", "other"):
        medium.write(place, value)
        assert medium.read(place) == value


def test_media_have_the_names_that_journals_use() -> None:
    assert list(media()) == ["file", "policy", "cpus", "drop-in", "held"]
    assert [one.name for one in media().values() if one.lasting] == ["drop-in"]


def test_a_file_that_marks_the_chosen_one(tmp_path: Path) -> None:
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    medium = File(SysTree(root=tmp_path))
    assert medium.read("/enabled") == "madvise"
    assert medium.read("/nowhere") is None
    with pytest.raises(FileNotFoundError):
        medium.write("/nowhere", "1")
