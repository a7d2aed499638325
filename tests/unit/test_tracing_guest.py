"""The scripts that the guest's agent runs for a trace, run here on a tree like the guest's."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fakes.fake_agent import FakeAgent
from vmjitter.effects.scratch import anonymous_memory
from vmjitter.errors import GuestCommandFailed
from vmjitter.guest.channel import GuestAgent
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.tracing.guest import GuestTrace
from vmjitter.tracing.record import TraceRecord

EVENTS = ("sched:sched_switch", "irq:irq_handler_entry", "napi:napi_poll")


class Guest:
    """A tracing directory, and an agent that runs every script in it but the one that mounts."""

    def __init__(self, directory: Path, clocks: str) -> None:
        self.directory = directory
        for name in ("tracing_on", "buffer_size_kb", "set_event"):
            (directory / name).write_text("")
        (directory / "trace_clock").write_text(f"{clocks}\n")
        (directory / "available_events").write_text("sched:sched_switch\nirq:irq_handler_entry\n")

    def __call__(self, argv: list[str]) -> tuple[int, str]:
        if "mount" in argv[3]:
            return 0, f"{self.directory}\n"
        done = subprocess.run(argv[1:], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def read(self, name: str) -> str:
        return (self.directory / name).read_text()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closed after the test."""
    with ExitStack() as made:
        yield made


def _trace(stack: ExitStack, guest: Guest, record: TraceRecord) -> GuestTrace:
    shm = stack.enter_context(SharedMemory(stack.enter_context(anonymous_memory(SHM_BYTES))))
    ours, theirs = socket.socketpair()
    stack.callback(ours.close)
    stack.callback(theirs.close)
    stack.enter_context(FakeAgent(shm, theirs, guest))
    return GuestTrace(GuestAgent(shm, ours, lambda: None), shm, 4 << 20, EVENTS, record)


def test_events_that_the_guest_has_are_switched_on(tmp_path: Path, stack: ExitStack) -> None:
    guest, record = Guest(tmp_path, "[local] global counter mono"), TraceRecord()
    trace = _trace(stack, guest, record)
    assert record.guest_events == ["sched:sched_switch", "irq:irq_handler_entry"]
    assert record.guest_missing == ["napi:napi_poll"]
    assert guest.read("set_event").split() == record.guest_events
    assert guest.read("trace_clock") == "mono\n"
    assert guest.read("buffer_size_kb") == "4096\n"
    assert guest.read("tracing_on") == "0\n"
    trace.on()
    assert guest.read("tracing_on") == "1\n"
    trace.off()
    assert guest.read("tracing_on") == "0\n"


def test_a_clock_that_is_not_the_probes_is_of_no_use(tmp_path: Path, stack: ExitStack) -> None:
    with pytest.raises(GuestCommandFailed, match=r"no trace clock 'mono' .* \[local\] global$"):
        _trace(stack, Guest(tmp_path, "[local] global"), TraceRecord())


def test_a_ring_that_cannot_be_read_is_an_error(tmp_path: Path, stack: ExitStack) -> None:
    trace = _trace(stack, Guest(tmp_path, "[mono]"), TraceRecord())
    with pytest.raises(GuestCommandFailed):
        trace.store(tmp_path / "guest.txt.gz")
