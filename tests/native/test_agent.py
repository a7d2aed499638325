"""The agent as an ordinary process: the command channel and the clock."""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from native.conftest import Memory, wait_until

CONTROL = "vmj_control"
CLOCK = "vmj_clock_cell"
CLOCK_END = 0xFFFFFFFF


class Host:
    """The host's end of the command channel."""

    def __init__(self, memory: Memory, process: subprocess.Popen[bytes], bell: Path) -> None:
        self.memory = memory
        self.process = process
        self.bell = bell

    def state(self) -> int:
        return self.memory.number(CONTROL, "agent_state")

    def send(self, *arguments: str) -> int:
        """Give a command; returns its number."""
        command = b"".join(argument.encode() + b"\0" for argument in arguments)
        return self.send_bytes(command)

    def send_bytes(self, command: bytes) -> int:
        at = self.memory.constants["VMJ_OFF_COMMAND"]
        self.memory.bytes[at : at + len(command)] = command
        self.memory.set(CONTROL, "cmd_len", len(command))
        sequence = self.memory.number(CONTROL, "cmd_seq") + 1
        self.memory.set(CONTROL, "cmd_seq", sequence)
        return sequence

    def receive(self, sequence: int) -> tuple[int, str]:
        """Wait for a reply; returns its status and text."""
        wait_until(
            lambda: self.memory.number(CONTROL, "rep_seq") == sequence, what=f"reply {sequence}"
        )
        at = self.memory.constants["VMJ_OFF_REPLY"]
        text = self.memory.bytes[at : at + self.memory.number(CONTROL, "rep_len")]
        return self.memory.signed(CONTROL, "rep_status"), text.decode()

    def do(self, *arguments: str) -> tuple[int, str]:
        return self.receive(self.send(*arguments))


@pytest.fixture
def host(agent: str, memory: Memory, tmp_path: Path) -> Iterator[Host]:
    bell = tmp_path / "bell"
    bell.touch()
    command = [agent, "--shm", str(memory.path), "--bell", str(bell)]
    with subprocess.Popen(command) as process:
        made = Host(memory, process, bell)
        wait_until(lambda: made.state() == memory.constants["VMJ_AGENT_READY"], what="the agent")
        yield made
        process.kill()


def test_ready(host: Host) -> None:
    init, ready = (host.memory.number(CONTROL, field) for field in ("init_ns", "ready_ns"))
    assert 0 < init <= ready <= time.monotonic_ns()
    before = host.memory.number(CONTROL, "heartbeat")
    wait_until(lambda: host.memory.number(CONTROL, "heartbeat") > before, what="a heartbeat")


def test_run(host: Host) -> None:
    assert host.do("run", "/bin/sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\nerr\n")
    assert host.do("run", "sh", "-c", "echo $0 $1", "a b", "") == (0, "a b\n")
    assert host.do("run", "sh", "-c", "kill -TERM $$") == (128 + 15, "")


def test_only_the_end_of_long_output_is_kept(host: Host) -> None:
    status, text = host.do("run", "sh", "-c", "yes start | head -c 200000; echo end")
    assert status == 0
    assert len(text) == host.memory.constants["VMJ_REPLY_CAP"]
    assert text.endswith("end\n")


def test_busy_while_a_command_runs(host: Host) -> None:
    sequence = host.send("run", "sh", "-c", "sleep 0.3")
    wait_until(lambda: host.state() == host.memory.constants["VMJ_AGENT_BUSY"], what="BUSY")
    assert host.receive(sequence) == (0, "")
    wait_until(lambda: host.state() == host.memory.constants["VMJ_AGENT_READY"], what="READY")


def test_not_started(host: Host) -> None:
    status, text = host.do("run", "/no/such/program")
    assert status == -errno.ENOENT
    assert "/no/such/program: No such file" in text
    status, _ = host.do("spawn", "/no/such/program")
    assert status == -errno.ENOENT


def test_spawn_and_poll(host: Host) -> None:
    status, pid = host.do("spawn", "sleep", "60")
    assert status == 0
    assert host.do("poll", pid) == (0, "running")
    host.do("run", "sh", "-c", f"kill -INT {pid}")
    wait_until(lambda: host.do("poll", pid)[1] != "running", what="its end")
    assert host.do("poll", pid) == (0, "signal 2")
    status, pid = host.do("spawn", "sh", "-c", "exit 7")
    wait_until(lambda: host.do("poll", pid)[1] != "running", what="its end")
    assert host.do("poll", pid) == (0, "exit 7")
    assert host.do("poll", "1") == (0, "unknown")
    assert host.do("poll", "x") == (0, "unknown")


def test_wrong_commands(host: Host) -> None:
    for command in (["dance"], ["run"], ["poll"], ["clock", "now"], []):
        status, text = host.do(*command)
        assert status == -errno.EINVAL
        assert "known are run" in text
    host.memory.set(CONTROL, "cmd_len", 0xFFFFFFFF)
    sequence = host.memory.number(CONTROL, "cmd_seq") + 1
    host.memory.set(CONTROL, "cmd_seq", sequence)
    assert host.receive(sequence)[0] == -errno.E2BIG


def ping(host: Host, number: int) -> tuple[int, int, int]:
    """One ping-pong: our clock before, the agent's clock, our clock after."""
    before = time.monotonic_ns()
    host.memory.set(CLOCK, "clock_req", number)
    end = time.monotonic() + 20
    while host.memory.number(CLOCK, "clock_ack") != number:
        assert time.monotonic() < end
    return before, host.memory.number(CLOCK, "guest_ns"), time.monotonic_ns()


def test_clock(host: Host) -> None:
    for _ in range(2):  # a second time, since the cell keeps its old content
        host.memory.set(CLOCK, "clock_req", 0)
        sequence = host.send("clock")
        wait_until(lambda: host.state() == host.memory.constants["VMJ_AGENT_CLOCK"], what="CLOCK")
        for number in range(1, 20):
            before, there, after = ping(host, number)
            assert before <= there <= after
            assert host.memory.number(CLOCK, "guest_tsc") > 0
        host.memory.set(CLOCK, "clock_req", CLOCK_END)
        assert host.receive(sequence) == (0, "")


def test_bell(host: Host) -> None:
    sequence = host.send("run", "true")
    host.receive(sequence)
    wait_until(lambda: "reply" in host.bell.read_text(), what="the bell")
    assert host.bell.read_text() == f"ready\nreply {sequence}\n"


def test_poweroff_ends_an_ordinary_agent(host: Host) -> None:
    assert host.do("poweroff") == (0, "")
    assert host.process.wait(timeout=20) == 0


def test_memory_without_a_header_is_refused(agent: str, tmp_path: Path) -> None:
    (tmp_path / "zero").write_bytes(bytes(2 << 20))
    done = subprocess.run(
        [agent, "--shm", str(tmp_path / "zero")], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "magic" in done.stdout


@pytest.mark.parametrize("options", [[], ["--shm"], ["--shm", "x", "extra"], ["--sh", "x"]])
def test_usage(agent: str, options: list[str]) -> None:
    done = subprocess.run([agent, *options], check=False, capture_output=True)
    assert done.returncode == 2
