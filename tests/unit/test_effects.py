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
from vmjitter.effects.process import Child, check, find_program, run
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
