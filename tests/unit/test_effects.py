"""Processes, temporary things and the virtual wire: what is left behind is nothing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vmjitter.effects.net import HOST_ADDRESS, tap_wire
from vmjitter.effects.process import (
    Child,
    check,
    find_program,
    out_of_the_way,
    run,
    split_cpus,
    stream,
)
from vmjitter.effects.scratch import anonymous_memory, fd_path, scratch_directory
from vmjitter.effects.systree import SysTree
from vmjitter.errors import CommandFailed, MissingCapability


def test_output_and_status_are_kept() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.status, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_failures_carry_command_and_output() -> None:
    with pytest.raises(CommandFailed, match="status 3") as error:
        check(["sh", "-c", "echo why >&2; exit 3"])
    assert error.value.evidence == "why"
    with pytest.raises(CommandFailed, match="no end after"):
        run(["sleep", "5"], timeout_s=0.1)
    with pytest.raises(MissingCapability) as missing:
        find_program("no-such-program", hint="install it")
    assert missing.value.hint == "install it"


def test_a_child_is_waited_for_and_ended(tmp_path: Path) -> None:
    with Child(["sleep", "60"], log=tmp_path / "log") as child:
        assert child.status() is None
        assert select.select([child], [], [], 0)[0] == []
    assert child.status() == -signal.SIGTERM
    child.close()


def test_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    script = 'trap "" TERM; echo ready; while :; do sleep 1; done'
    with Child(["sh", "-c", script], log=tmp_path / "log") as child:
        while "ready" not in child.output_tail():
            time.sleep(0.01)
    assert child.status() == -signal.SIGKILL


_VICTIM = """
import sys, time
from pathlib import Path
from vmjitter.effects.process import Child
from vmjitter.effects.scratch import scratch_directory
with scratch_directory(Path(sys.argv[1]), "s-") as d, Child(["sleep", "99"], log=d / "log") as c:
    print(c.pid, d, flush=True)
    time.sleep(99)
"""


def test_nothing_survives_sigkill(tmp_path: Path) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert victim.stdout is not None
    pid, directory = victim.stdout.readline().split()
    assert Path(directory).is_dir()
    victim.kill()
    victim.wait()
    victim.stdout.close()
    deadline = time.monotonic() + 10
    while (_runs(pid) or Path(directory).exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(directory).exists()
    assert not _runs(pid)


def _runs(pid: str) -> bool:
    """Whether the process still does something; a zombie that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_memory_without_a_name_is_shared_with_children() -> None:
    with anonymous_memory(4096) as fd:
        subprocess.run(["sh", "-c", f"printf hello > {fd_path(fd)}"], pass_fds=[fd], check=True)
        assert os.pread(fd, 5, 0) == b"hello"


def test_scratch_directories_go_away(tmp_path: Path) -> None:
    with scratch_directory(tmp_path, "x-") as path:
        (path / "file").write_text("data")
    assert list(tmp_path.iterdir()) == []


def test_the_system_tree_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/b").write_text(" 42\n")
    (tmp_path / "sys/a").touch()
    tree = SysTree(root=tmp_path)
    assert tree.read("/sys/b") == "42"
    assert tree.read("/sys/none") is None
    assert tree.names("/sys") == ("a", "b")
    assert tree.names("/none") == ()
    assert tree.exists("/sys/a")
    assert tree.usable("/sys/a")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a tap device: run as root")
def test_the_wire_lives_in_a_namespace_of_its_own() -> None:
    before = Path("/proc/net/dev").read_text()
    with tap_wire() as wire:
        inside = subprocess.run(
            [
                "nsenter",
                f"--net=/proc/{os.getpid()}/fd/{wire.netns_fd}",
                "cat",
                "/proc/net/fib_trie",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert HOST_ADDRESS in inside
        assert "vmjtap0" not in Path("/proc/net/dev").read_text()
    assert [line.split()[0] for line in Path("/proc/net/dev").read_text().splitlines()] == [
        line.split()[0] for line in before.splitlines()
    ]


def test_no_wire_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("vmjitter.effects.net._unshare_network", refuse)
    with pytest.raises(MissingCapability, match="Operation not permitted"), tap_wire():
        pass


class Heard:
    """What a streamed program wrote, piece by piece, and how often the clock ticked."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.times: list[float] = []
        self.ticks = 0

    def output(self, number: int, data: bytes) -> None:
        self.pieces.append((number, data))
        self.times.append(time.monotonic())

    def tick(self) -> None:
        self.ticks += 1

    def stream(self, *argv: str, tick_s: float = 1.0) -> int:
        return stream(argv, self.output, self.tick, tick_s=tick_s)

    def text(self, number: int) -> bytes:
        return b"".join(data for source, data in self.pieces if source == number)


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 3", 3), ("exit 0", 0), ("kill -TERM $$", 128 + signal.SIGTERM), ("no-such-word", 127)],
)
def test_a_streamed_programs_status_is_a_shells(script: str, status: int) -> None:
    assert Heard().stream("sh", "-c", script) == status


def test_streamed_output_is_kept_apart_and_whole() -> None:
    heard = Heard()
    script = "head -c 300000 /dev/zero; printf 'wh\\377y' >&2"
    assert heard.stream("sh", "-c", script) == 0
    assert heard.text(1) == bytes(300_000)
    assert heard.text(2) == b"wh\xffy"


def test_streamed_output_comes_while_it_is_written() -> None:
    heard = Heard()
    heard.stream("sh", "-c", "echo one; sleep 0.4; echo two")
    assert heard.pieces == [(1, b"one\n"), (1, b"two\n")]
    assert heard.times[1] - heard.times[0] > 0.2


def test_a_silent_program_does_not_stop_the_clock() -> None:
    heard = Heard()
    heard.stream("sleep", "0.5", tick_s=0.05)
    assert heard.ticks >= 5


def test_a_program_that_closed_its_output_does_not_stop_the_clock_either() -> None:
    heard = Heard()
    assert heard.stream("sh", "-c", "exec >&- 2>&-; sleep 0.5; exit 4", tick_s=0.05) == 4
    assert heard.ticks >= 5


def test_a_streamed_program_has_no_input() -> None:
    heard = Heard()
    assert heard.stream("sh", "-c", "cat; echo end") == 0
    assert heard.text(1) == b"end\n"


def test_what_fails_while_output_is_passed_on_is_raised_and_the_program_ends() -> None:
    def fail(_number: int, _data: bytes) -> None:
        raise OSError("the disk is full")

    began = time.monotonic()
    with pytest.raises(OSError, match="the disk is full"):
        stream(["sh", "-c", "echo x; sleep 3"], fail, lambda: None)
    assert time.monotonic() - began < 2


def test_a_killed_child_is_gone_at_once(tmp_path: Path) -> None:
    script = 'trap "" TERM; echo ready; while :; do sleep 1; done'
    with Child(["sh", "-c", script], log=tmp_path / "log") as child:
        while "ready" not in child.output_tail():
            time.sleep(0.01)
        child.kill()
        assert child.wait(5) == -signal.SIGKILL
        child.kill()
    assert child.status() == -signal.SIGKILL


def test_a_child_can_have_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "1")
    show = ["/bin/sh", "-c", "echo ${OURS-unset} ${ITS-unset}"]
    for env, text in ((None, "1 unset"), ({"ITS": "2"}, "unset 2"), ({}, "unset unset")):
        log = tmp_path / text.replace(" ", "-")
        with Child(show, log=log, env=env) as child:
            assert child.wait(5) == 0
            assert child.output_tail() == text


def test_a_childs_cpu_time_is_its_own(tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\n"
    with (
        Child([sys.executable, "-c", spin + "time.sleep(60)"], log=tmp_path / "log") as child,
        Child(["sleep", "60"], log=tmp_path / "idle") as idle,
    ):
        while "done" not in child.output_tail():
            time.sleep(0.01)
        assert child.cpu_ns() >= 280_000_000
        assert idle.cpu_ns() < 100_000_000
    assert child.cpu_ns() == 0


def test_out_of_the_way_is_for_a_while_only() -> None:
    before = (os.sched_getscheduler(0), os.sched_getaffinity(0))
    last = frozenset([max(before[1])])
    with out_of_the_way(last):
        assert os.sched_getscheduler(0) == os.SCHED_IDLE
        assert os.sched_getaffinity(0) == set(last)
    assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == before
    with pytest.raises(KeyError), out_of_the_way(last):
        raise KeyError
    assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == before


@pytest.mark.parametrize(
    ("usable", "count", "last", "others"),
    [
        ({0, 1, 2, 3}, 1, {3}, {0, 1, 2}),
        ({0, 2, 5}, 2, {2, 5}, {0}),
        ({0, 1}, 0, {0, 1}, {0, 1}),
        ({0, 1}, 2, {0, 1}, {0, 1}),
        ({7}, 1, {7}, {7}),
    ],
)
def test_cpus_are_divided_if_some_are_left_over(
    usable: set[int],
    count: int,
    last: set[int],
    others: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable)
    assert split_cpus(count) == (frozenset(last), frozenset(others))


def test_a_wire_that_cannot_be_delayed_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_delay_ns: int) -> None:
        raise FileNotFoundError(2, "delay on the wire: no netem")

    opened: list[int] = []

    def open_tap() -> int:
        opened.append(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        return opened[0]

    monkeypatch.setattr("vmjitter.effects.net._unshare_network", lambda: None)
    monkeypatch.setattr("vmjitter.effects.net._open_tap", open_tap)
    monkeypatch.setattr("vmjitter.effects.net._bring_up", lambda: None)
    monkeypatch.setattr("vmjitter.effects.net._slow_down", refuse)
    with pytest.raises(MissingCapability, match="no netem"), tap_wire(delay_ns=1000):
        pass
    assert not Path(f"/proc/self/fd/{opened[0]}").exists()
