"""One simulated host's life, with a stand-in for the simulator."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from fakes.fake_simulator import fake_bochs
from fakes.sim_parts import make_build, make_spec
from vmjitter.errors import MissingCapability, SimulationLost, SimulationStalled
from vmjitter.sim import host as host_module
from vmjitter.sim.host import Job, SimulatedHost
from vmjitter.sim.tape import END, PROGRESS, TICK, Record

JOB = Job(request=Record(kind="do"), files={"a/b": b"content"}, result_bytes=1 << 20)
PATIENT = "sim.stall_timeout=60s"
Start = Callable[..., AbstractContextManager[SimulatedHost]]


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a host whose simulator runs the given Python text."""

    @contextmanager
    def start(body: str, *assignments: str, job: Job = JOB) -> Iterator[SimulatedHost]:
        monkeypatch.setattr(host_module, "boot_disc", lambda *_: tmp_path / "boot.iso")
        monkeypatch.setattr(host_module, "bochs_argv", fake_bochs(body))
        directory = tmp_path / "host"
        directory.mkdir()
        spec = make_spec(*(assignments or (PATIENT,)))
        with SimulatedHost(make_build(tmp_path), spec, job, directory) as host:
            yield host

    return start


def _take_until(host: SimulatedHost, kind: str) -> list[Record]:
    got: list[Record] = []
    deadline = time.monotonic() + 30
    while not got or got[-1].kind != kind:
        assert time.monotonic() < deadline, f"no record of the kind {kind}"
        got += host.take()
        select.select([host], [], [], 0.01)
    return got


def test_the_job_goes_in_and_records_come_out(simulated: Start) -> None:
    body = """
assert [record.kind for record in job] == ["file", "do"]
for n in range(3):
    tape.write(Record(kind="got", head={"n": n, "virtual_ns": 1000 * n}, payload=job[0].payload))
    time.sleep(0.05)
tape.write(Record(kind=END, head={"status": 0, "virtual_ns": 5000}))
time.sleep(60)
"""
    with simulated(body) as host:
        got = _take_until(host, END)
        assert [record.head.get("n") for record in got] == [0, 1, 2, None]
        assert {record.payload for record in got[:3]} == {b"content"}
        assert host.virtual_ns == 5000
        assert 0 < host.speed < 1
        assert host.take() == []


def test_the_disks_are_long_enough(simulated: Start, tmp_path: Path) -> None:
    body = "tape.write(Record(kind=END, payload=bytes(2 << 20)))"
    job = Job(request=Record(kind="do"), files={"big": bytes(3 << 20)}, result_bytes=3 << 20)
    with simulated(body, job=job) as host:
        assert len(_take_until(host, END)[-1].payload) == 2 << 20
        assert (tmp_path / "host/result.img").stat().st_size >= 3 << 20


def test_a_simulator_that_ends_early_is_an_error_with_evidence(simulated: Start) -> None:
    body = """
progress("kernel boot 0")
console.write_text("Linux version\\nKernel panic - not syncing\\n")
print("simulator: fatal")
time.sleep(0.5)
sys.exit(3)
"""
    with simulated(body) as host:
        assert _take_until(host, PROGRESS)
        with pytest.raises(SimulationLost, match="ended kernel boot 0") as error:
            _take_until(host, END)
    assert not isinstance(error.value, SimulationStalled)
    assert "Kernel panic" in error.value.evidence
    assert "simulator: fatal" in error.value.evidence
    assert "vmjitter sim doctor" in error.value.hint


def test_one_that_never_said_anything(simulated: Start) -> None:
    with (
        simulated("sys.exit(1)") as host,
        pytest.raises(SimulationLost, match="before its first sign of life"),
    ):
        _take_until(host, END)


def test_what_came_before_the_end_is_not_lost(simulated: Start) -> None:
    with simulated('tape.write(Record(kind="file")); tape.write(Record(kind="file"))') as host:
        assert select.select([host], [], [], 30)[0]
        got: list[Record] = []
        with pytest.raises(SimulationLost):  # noqa: PT012
            for _ in range(3):
                got += host.take()
    assert [record.kind for record in got] == ["file", "file"]


def test_a_job_that_is_done_is_done_even_if_the_simulator_has_ended(simulated: Start) -> None:
    with simulated("tape.write(Record(kind=END))") as host:
        assert select.select([host], [], [], 30)[0]
        assert [record.kind for record in host.take()] == [END]


SPIN = """
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""


def test_work_without_progress_is_a_stall(simulated: Start) -> None:
    body = SPIN + 'console.write_text("stuck here"); spin(60)'
    with (
        simulated(body, "sim.stall_timeout=500ms") as host,
        pytest.raises(SimulationStalled, match=r"no progress for .* before its first") as error,
    ):
        _take_until(host, END)
    assert "--set sim.stall_timeout" in error.value.hint
    assert "stuck here" in error.value.evidence


def test_one_that_does_not_even_work_is_given_ten_times_as_long(simulated: Start) -> None:
    began = time.monotonic()
    with (
        simulated("time.sleep(60)", "sim.stall_timeout=200ms") as host,
        pytest.raises(SimulationStalled, match="no progress for 0:02"),
    ):
        _take_until(host, END)
    assert time.monotonic() - began > 2


def test_progress_that_does_not_change_is_none(simulated: Start) -> None:
    body = """
while True:
    progress("kernel measure 7")
    spin(0.02)
"""
    with (
        simulated(SPIN + body, "sim.stall_timeout=500ms") as host,
        pytest.raises(SimulationStalled, match="kernel measure 7"),
    ):
        _take_until(host, END)


@pytest.mark.parametrize(
    "sign",
    [
        'progress(f"kernel measure {n}")',
        "tape.write(Record(kind=TICK))",
        'console.write_text("line " * n)',
    ],
)
def test_signs_of_life_keep_it_alive(simulated: Start, sign: str) -> None:
    body = f"""
for n in range(50):
    {sign}
    spin(0.03)
tape.write(Record(kind=END))
time.sleep(60)
"""
    with simulated(SPIN + body, "sim.stall_timeout=700ms") as host:
        got = _take_until(host, END)
    assert {record.kind for record in got[:-1]} <= {PROGRESS, TICK}


def test_at_a_console_the_user_is_the_watch(simulated: Start, tmp_path: Path) -> None:
    job = Job(request=Record(kind="shell"), console=Path("/dev/null"))
    with simulated("time.sleep(60)", "sim.stall_timeout=1ms", job=job) as host:
        time.sleep(0.05)
        assert host.take() == []
        assert host.evidence() == ""
    configuration = (tmp_path / "host/bochsrc").read_text()
    assert "com1: enabled=1, mode=term, dev=/dev/null" in configuration


def test_closing_ends_it_at_once_however_stubborn(simulated: Start) -> None:
    body = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
progress(str(os.getpid()))
time.sleep(60)
"""
    with simulated(body) as host:
        (record,) = _take_until(host, PROGRESS)
        began = time.monotonic()
        host.close()
        assert time.monotonic() - began < 1.5  # SIGTERM would be given two seconds
        assert not Path(f"/proc/{record.text('where')}").exists()
        host.close()


def test_a_simulator_that_cannot_be_started(
    simulated: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_name: str, *, hint: str) -> str:
        raise MissingCapability("no setpriv", hint=hint)

    monkeypatch.setattr("vmjitter.effects.process.find_program", missing)
    before = _descriptors()
    with pytest.raises(MissingCapability), simulated(""):
        pass
    assert _descriptors() == before


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_with_the_real_clock_it_is_qemu(
    simulated: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin/qemu"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(host_module, "qemu_program", lambda: str(fake))
    with simulated("", "sim.clock=real", PATIENT) as host:
        assert select.select([host], [], [], 30)[0]
        with pytest.raises(SimulationLost) as error:
            host.take()
    assert f"-kernel {tmp_path / 'vmlinuz'}" in error.value.evidence
    assert "vmjitter.pio" not in error.value.evidence
    assert not (tmp_path / "host/bochsrc").exists()


_VICTIM = """
import sys, time
from pathlib import Path
from fakes.fake_simulator import fake_bochs
from fakes.sim_parts import make_build, make_spec
from vmjitter.sim import host
from vmjitter.sim.tape import Record
place = Path(sys.argv[1])
host.boot_disc = lambda *_: place / "boot.iso"
host.bochs_argv = fake_bochs("import os; progress(str(os.getpid())); time.sleep(60)")
job = host.Job(request=Record(kind="do"))
with host.SimulatedHost(make_build(place), make_spec(), job, place) as simulated:
    while not (got := simulated.take()):
        time.sleep(0.01)
    print(got[0].text("where"), flush=True)
    time.sleep(60)
"""


def test_no_simulator_survives_its_controller(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tests.parent / 'src'}:{tests}"},
    )
    assert victim.stdout is not None
    pid = int(victim.stdout.readline())
    descriptor = os.pidfd_open(pid)
    try:
        victim.kill()
        victim.wait()
        assert select.select([descriptor], [], [], 10)[0], "it runs on"
    finally:
        os.close(descriptor)
        victim.stdout.close()
