"""A shell or a command in a simulated host that is a fake with a real tape."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes.fake_sim_host import FakeSimulator, Step, end_record
from fakes.sim_parts import make_build, make_spec
from vmjitter.bench import machine
from vmjitter.bench.inside import EXEC, OUTPUT, REQUEST_FILE, SHELL
from vmjitter.bench.machine import execute, shell
from vmjitter.errors import SimulationLost, VmjitterError
from vmjitter.sim.tape import TICK, Record


class Machine:
    """Runs commands in fakes, and keeps what they write."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.temporary = place / "tmp"
        self.temporary.mkdir()
        self.written: list[tuple[int, bytes]] = []
        self.pumped = 0
        self.shown: set[int] = set()
        self._patch = monkeypatch

    def _fake(self, steps: Sequence[Step]) -> FakeSimulator:
        simulator = FakeSimulator(lambda *_: steps)
        self._patch.setattr(machine, "SimulatedHost", simulator)
        self._patch.setattr(machine, "gettempdir", lambda: str(self.temporary))
        return simulator

    def execute(self, *steps: Step) -> tuple[FakeSimulator, int]:
        simulator = self._fake(steps)

        def output(number: int, data: bytes) -> None:
            self.written.append((number, data))

        build = make_build(self.place / "parts")
        try:
            status = execute(build, make_spec(), ["ls", "-l"], output, files={"data/x": b"given"})
        finally:
            self.all_gone(simulator)
        return simulator, status

    def shell(self, *steps: Step) -> tuple[FakeSimulator, int]:
        simulator = self._fake(steps)

        def pump() -> bool:
            self.pumped += 1
            return self.pumped in self.shown

        terminal, size = Path("/dev/pts/7"), (24, 80)
        try:
            status = shell(make_build(self.place / "parts"), make_spec(), terminal, size, pump)
        finally:
            self.all_gone(simulator)
        return simulator, status

    def all_gone(self, simulator: FakeSimulator) -> None:
        assert simulator.running == 0
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def _said(number: int, data: bytes) -> Record:
    return Record(kind=OUTPUT, head={"fd": number}, payload=data)


def test_output_comes_in_order_and_the_status_is_the_commands(here: Machine) -> None:
    simulator, status = here.execute(
        _said(1, b"a"), Record(kind=TICK), _said(2, b"b"), _said(1, b"c"), end_record(3)
    )
    assert status == 3
    assert here.written == [(1, b"a"), (2, b"b"), (1, b"c")]
    (job,) = simulator.jobs_of("")
    assert job.request.kind == EXEC
    assert json.loads(job.files[REQUEST_FILE]) == {"argv": ["ls", "-l"]}
    assert job.files["data/x"] == b"given"
    assert job.console is None
    assert job.result_bytes > 0


def test_an_error_there_is_an_error_here(here: Machine) -> None:
    end = end_record(2, message="no such disk", hint="look", evidence="dmesg")
    with pytest.raises(VmjitterError, match="no such disk") as error:
        here.execute(_said(1, b"a"), end)
    assert (error.value.hint, error.value.evidence) == ("look", "dmesg")
    assert here.written == [(1, b"a")]


def test_a_lost_host_is_not_repeated(here: Machine) -> None:
    with pytest.raises(SimulationLost, match="gone"):
        here.execute(_said(1, b"a"), SimulationLost("gone"))


def test_what_a_shell_wrote_last_is_shown(here: Machine) -> None:
    here.shown = {1, 2, 3}
    assert here.shell(end_record(0))[1] == 0
    assert here.pumped == 4


def test_a_flood_after_the_end_of_the_shell_does_not_last(here: Machine) -> None:
    here.shown = set(range(10_000))
    assert here.shell(end_record(0))[1] == 0
    assert 100 < here.pumped < 1000


def test_a_shell_has_the_terminal_and_its_size(here: Machine) -> None:
    simulator, status = here.shell(Record(kind=TICK), Record(kind=TICK), end_record(5))
    assert status == 5
    assert here.pumped == 3
    (job,) = simulator.jobs_of("")
    assert job.request.kind == SHELL
    assert json.loads(job.files[REQUEST_FILE]) == {"rows": 24, "columns": 80}
    assert job.console == Path("/dev/pts/7")


def test_leaving_a_shell_ends_its_host(here: Machine) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.shell(Record(kind=TICK), KeyboardInterrupt())
