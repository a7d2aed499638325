"""Commands to the guest and the clock ping-pong, against an agent that is a thread."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.fake_agent import FakeAgent
from vmjitter.effects.scratch import anonymous_memory
from vmjitter.errors import GuestCommandFailed, GuestHang, QemuDied
from vmjitter.guest import layout
from vmjitter.guest.channel import GuestAgent
from vmjitter.guest.shm import SHM_BYTES, Drain, SharedMemory
from vmjitter.session.pingpong import Round, best_offset, play


@pytest.fixture
def shm() -> Iterator[SharedMemory]:
    with anonymous_memory(SHM_BYTES) as fd, SharedMemory(fd) as memory:
        yield memory


@pytest.fixture
def bells() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _echo(argv: list[str]) -> tuple[int, str]:
    return (1, "no such file") if "fail" in argv else (0, " ".join(argv))


def _alive() -> None:
    return None


def test_commands_and_replies(
    shm: SharedMemory, bells: tuple[socket.socket, socket.socket]
) -> None:
    agent = GuestAgent(shm, bells[0], _alive)
    assert not agent.ready
    with FakeAgent(shm, bells[1], _echo):
        assert agent.ready
        assert agent.call("run", "uname", "-a").text == "run uname -a"
        assert agent.check(["cat", "a b"]) == "run cat a b"
        with pytest.raises(GuestCommandFailed, match="cat fail ended with status 1") as error:
            agent.check(["cat", "fail"])
        assert error.value.evidence == "no such file"


def test_no_answer_is_a_hang(shm: SharedMemory, bells: tuple[socket.socket, socket.socket]) -> None:
    agent = GuestAgent(shm, bells[0], _alive)
    with pytest.raises(GuestHang, match=r"did not answer within 0\.1 s"):
        agent.call("run", "true", timeout_s=0.1)


def test_a_dead_guest_is_noticed_while_waiting(
    shm: SharedMemory, bells: tuple[socket.socket, socket.socket]
) -> None:
    def dead() -> None:
        raise QemuDied("QEMU ended")

    agent = GuestAgent(shm, bells[0], dead)
    bells[1].close()
    with pytest.raises(QemuDied):
        agent.call("run", "true")


def test_a_command_longer_than_its_room(
    shm: SharedMemory, bells: tuple[socket.socket, socket.socket]
) -> None:
    agent = GuestAgent(shm, bells[0], _alive)
    with pytest.raises(GuestCommandFailed, match="too long"):
        agent.start("run", "x" * layout.COMMAND_CAP)


def test_ping_pong_finds_the_offset_within_its_bound(
    shm: SharedMemory, bells: tuple[socket.socket, socket.socket]
) -> None:
    skew_ns = 123_456_789_012
    agent = GuestAgent(shm, bells[0], _alive)
    with FakeAgent(shm, bells[1], _echo, skew_ns=skew_ns):
        agent.start("clock")
        while shm.control.agent_state != layout.AGENT_CLOCK:
            agent.pause(0.01)
        offset = best_offset(play(shm, _alive))
        agent.wait(5)
    assert offset is not None
    assert abs(offset.offset_ns - skew_ns) <= offset.bound_ns
    assert offset.rounds > 0


def test_an_error_with_a_view_in_its_traceback_is_not_hidden() -> None:
    def fail(memory: SharedMemory) -> None:
        view = memory.clock
        raise QemuDied(f"QEMU ended at {view.clock_req}")

    ended = pytest.raises(QemuDied, match="QEMU ended at 0")
    with ended, anonymous_memory(SHM_BYTES) as fd, SharedMemory(fd) as memory:
        fail(memory)


def test_the_shortest_round_counts() -> None:
    rounds = [
        Round(sent_ns=0, guest_ns=1500, received_ns=1000),
        Round(sent_ns=2000, guest_ns=3005, received_ns=2010),
    ]
    offset = best_offset(rounds)
    assert offset is not None
    assert (offset.offset_ns, offset.bound_ns, offset.host_ns) == (1000, 5, 2005)
    assert best_offset([]) is None


def test_the_drain_follows_the_ring_around_and_notices_losses(shm: SharedMemory) -> None:
    drain = Drain(shm)
    size = layout.RECORD_BYTES
    for number in range(shm.ring_records):
        shm.write(layout.OFF_RING + number * size, number.to_bytes(8, "little") + bytes(8))
    shm.probe.written = shm.ring_records - 2
    assert len(drain.take()) == (shm.ring_records - 2) * size
    shm.write(layout.OFF_RING, (77).to_bytes(8, "little") + bytes(8))
    shm.probe.written = shm.ring_records + 1
    records = drain.take()
    numbers = [int.from_bytes(records[i : i + 8], "little") for i in range(0, len(records), size)]
    assert numbers == [shm.ring_records - 2, shm.ring_records - 1, 77]
    assert drain.lost == 0
    shm.probe.written = (2 * shm.ring_records + 6) & 0xFFFFFFFF
    assert len(drain.take()) == shm.ring_records * size
    assert drain.lost == 5


def test_the_drain_survives_the_wrap_of_its_counter(shm: SharedMemory) -> None:
    drain = Drain(shm)
    drain.taken = 2**32 - 1
    shm.probe.written = 2
    assert len(drain.take()) == 3 * layout.RECORD_BYTES
    assert (drain.taken, drain.lost) == (2**32 + 2, 0)


def test_memory_is_laid_out_for_the_other_side(tmp_path: Path) -> None:
    path = tmp_path / "shm"
    path.write_bytes(bytes(SHM_BYTES))
    with path.open("r+b") as file, SharedMemory(file.fileno()) as shm:
        assert shm.ring_records == 1 << 19
    data = path.read_bytes()
    assert data[:8] == layout.SHM_MAGIC
    assert int.from_bytes(data[16:24], "little") == SHM_BYTES
