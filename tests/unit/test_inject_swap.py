"""Swapped-out memory as a disturbance: a real program's pages, the swap's header, the log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.errors import CommandFailed
from vmjitter.inject.hands import Hands
from vmjitter.inject.kinds import KINDS
from vmjitter.inject.kinds.swap_in import mixed, spans
from vmjitter.inject.memory import PAGE_BYTES, Memory, longest, runs
from vmjitter.inject.swap_device import swap_header

MIB = 1 << 20
MAPS = """\
55d0c0a00000-55d0c0a01000 r--p 00000000 08:01 131 /usr/bin/some program
7f0000000000-7f0010000000 rw-p 00000000 00:00 0 
7f0010000000-7f0010001000 rw-p 00000000 00:00 0 
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
"""  # noqa: W291 - as the kernel writes it

PROGRAM = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
memory.madvise(mmap.MADV_RANDOM)  # no page but those that are touched
for line in sys.stdin:
    for page in map(int, line.split()):
        memory[page * 4096]
    print("touched", flush=True)
"""


def test_the_guests_memory_is_the_longest_mapping() -> None:
    assert longest(MAPS) == (0x7F0000000000, 0x7F0010000000)


@given(st.sets(st.integers(0, 60)))
def test_runs_have_every_page_once_and_gaps_between(pages: set[int]) -> None:
    found = runs(sorted(pages))
    covered = [page for first, count in found for page in range(first, first + count)]
    assert covered == sorted(pages)
    ends = [first + count for first, count in found]
    assert all(first > end for end, (first, _) in zip(ends, found[1:], strict=False))


def test_spans_last_from_the_first_look_to_the_last() -> None:
    looks = [(5, False), (6, True), (8, True), (9, True), (11, False), (12, True), (15, False)]
    assert spans(looks) == [(6, 9), (12, 12)]
    assert spans([]) == []


@given(st.lists(st.booleans()))
def test_spans_never_touch(seen: list[bool]) -> None:
    found = spans(enumerate(seen))
    assert {at for begin, end in found for at in range(begin, end + 1)} == {
        at for at, one in enumerate(seen) if one
    }
    assert all(one[1] + 1 < other[0] for one, other in pairwise(found))


def test_pages_that_are_mixed_are_far_apart() -> None:
    order = mixed(range(1000, 2000))
    assert sorted(order) == list(range(1000, 2000))
    assert min(abs(a - b) for a, b in pairwise(order)) > 100


@pytest.mark.skipif(shutil.which("mkswap") is None, reason="no mkswap(8) here")
def test_the_header_is_that_of_mkswap(tmp_path: Path) -> None:
    file = tmp_path / "swap"
    file.write_bytes(bytes(2 * MIB))
    file.chmod(0o600)
    subprocess.run([str(shutil.which("mkswap")), str(file)], check=True, capture_output=True)
    theirs = file.read_bytes()[:PAGE_BYTES]
    ours = swap_header(2 * MIB // PAGE_BYTES)
    named = slice(1036, 1068)  # UUID and label, which ours has not
    assert ours[:1036] + theirs[named] + ours[1068:] == theirs


@contextmanager
def _program(file: Path) -> Iterator[tuple[int, Callable[[str], None]]]:
    """A program that has a file mapped and touches pages of it: its pid, and what it touches."""
    argv = [sys.executable, "-c", PROGRAM, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **pipes) as running:  # type: ignore[call-overload]

        def touch(pages: str) -> None:
            running.stdin.write(f"{pages}\n")
            running.stdin.flush()
            assert running.stdout.readline() == "touched\n"

        try:
            touch("")
            yield running.pid, touch
        finally:
            running.kill()


def _file_system(place: Path) -> str:
    argv = ["stat", "-f", "-c", "%T", str(place)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def _one_cpu() -> Iterator[None]:
    """A page waits in a list of the CPU that used it, and does not go from another one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("_one_cpu")
def test_pages_of_a_running_program_go_and_come_back(tmp_path: Path) -> None:
    """A file's pages: they need no swap to go."""
    if _file_system(tmp_path) == "tmpfs":
        pytest.skip("pages of a tmpfs go to the swap only")
    file = tmp_path / "memory"
    with file.open("wb") as stream:
        stream.truncate(512 * MIB)
    with _program(file) as (pid, touch):
        memory = Memory(pid)
        assert memory.size_bytes == 512 * MIB
        one, two, three = 7, 9000, 70000  # far apart: a file's pages come in groups
        touch(f"{one} {two} {three}")
        assert {one, two, three} <= {*memory.mapped()}
        for _ in range(9):  # the first time it has just been used; and others use this CPU, too
            memory.page_out([one, three])
        assert [memory.is_mapped(page) for page in (one, two, three)] == [False, True, False]
        memory.fetch([one])  # into memory, not into the program's page tables
        assert not memory.is_mapped(one)
        touch(f"{one}")
        assert memory.is_mapped(one)
        for _ in range(9):
            memory.page_out_all()
        assert not memory.is_mapped(two)
        memory.close()


def test_a_program_that_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    file.write_bytes(bytes(PAGE_BYTES))
    with _program(file) as (pid, _):
        memory = Memory(pid)
    with pytest.raises(CommandFailed, match="a program's memory: No such process"):
        memory.page_out([0])
    memory.close()
    with pytest.raises(OSError, match="No such file"):
        Memory(pid)


def test_no_swap_is_made_elsewhere(tmp_path: Path) -> None:
    """It would be left behind."""
    file = tmp_path / "memory"
    file.write_bytes(bytes(PAGE_BYTES))
    with _program(file) as (pid, _):
        hands = Hands(own_cpus=frozenset(), vcpu_tid=pid, main_tid=pid, disk_dir=tmp_path)
        with pytest.raises(CommandFailed, match="in a simulated host only"):
            KINDS["swap-in"].prepare(hands, 1)
