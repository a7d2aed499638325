"""Scenarios that are measured in turn: every bench, up to the directories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes.fake_sim_host import (
    FakeHost,
    FakeSimulator,
    Step,
    end_record,
    file_record,
    progress_record,
)
from fakes.runmaker import header_bytes, latencies, make_status, record_bytes
from fakes.sim_parts import make_build
from vmjitter.bench import sim
from vmjitter.bench.handover import pack, unpack_surroundings
from vmjitter.bench.inside import REQUEST_FILE
from vmjitter.bench.local import Surroundings
from vmjitter.cli.live import describe, time_left_ns
from vmjitter.config.resolve import Choices, resolve
from vmjitter.config.sources import Value
from vmjitter.model.sim import SimSpec
from vmjitter.report.result import judge
from vmjitter.session.progress import Progress
from vmjitter.sim.build import HostBuild
from vmjitter.sim.host import Job
from vmjitter.store.reader import read_run
from vmjitter.store.rundir import to_json

PLAN = """
[plan]
pair = ["one", "two"]
rounds = 4
[probe]
loops = 100
[scenario.one]
where = "host"
[scenario.two]
where = "host"
"""
ORDER = ["01-one", "02-two", "03-two", "04-one", "05-one", "06-two", "07-two", "08-one"]
ROUNDS = [1, 1, 2, 2, 3, 3, 4, 4]


class Seeded(FakeSimulator):
    """Keeps what each simulated host was to be."""

    def __init__(self) -> None:
        super().__init__(self.measured)
        self.seeds: list[tuple[str, int]] = []

    def __call__(self, build: HostBuild, spec: SimSpec, job: Job, directory: Path) -> FakeHost:
        self.seeds.append((json.loads(job.files[REQUEST_FILE])["only"], spec.seed))
        self.round = json.loads(job.files["surroundings.json"])["round"]
        return super().__call__(build, spec, job, directory)

    def measured(self, name: str, attempt: int) -> list[Step]:
        latency = latencies(100, seed=attempt, worst_ns=50_000)
        status = make_status(name, loops=100, recorded=100, round=self.round)
        place = f"trials/01-{name}"
        return [
            progress_record(Progress(scenario=name, phase="boot", loops=100, period_ns=1)),
            file_record(f"{place}/samples.raw", header_bytes(loops=100) + record_bytes(latency)),
            file_record(f"{place}/status.json", to_json(status).encode()),
            end_record(),
        ]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(PLAN)
    return path


def test_in_simulated_hosts(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Seeded()
    parts = make_build(tmp_path / "parts")
    monkeypatch.setattr(sim, "SimulatedHost", simulator)
    monkeypatch.setattr(sim, "guest_images", lambda *_: {})
    monkeypatch.setattr(sim, "build", lambda *_, **__: parts)
    choices = Choices(assignments=["bench.name=sim", "sim.seed=5"])
    reports: list[Progress] = []
    sim.run_plan(
        resolve(str(plan), choices), tmp_path / "run", say=lambda _: None, report=reports.append
    )
    stored = read_run(tmp_path / "run")
    assert [trial.path.name for trial in stored.trials] == ORDER
    assert [trial.status.round for trial in stored.trials] == ROUNDS
    wanted = [(name[3:], 4 + number) for name, number in zip(ORDER, ROUNDS, strict=True)]
    assert sorted(simulator.seeds) == sorted(wanted)
    assert {report.round for report in reports} >= {1, 2, 3, 4}
    speeds = [name for name in stored.info.simulation if name.startswith("real_s")]
    assert len(speeds) == 8
    names = [trial.name for trial in judge(stored).trials]
    assert names[:3] == ["one #1", "two #1", "two #2"]


def test_the_round_is_handed_over(tmp_path: Path) -> None:
    for name, data in pack({}, Surroundings(bench="sim", round=3)).items():
        (tmp_path / name).write_bytes(data)
    assert unpack_surroundings(tmp_path).round == 3


def test_a_resolved_plan_keeps_its_rounds_unless_it_is_one_trial(
    plan: Path, tmp_path: Path
) -> None:
    resolved = resolve(str(plan), Choices())
    again = tmp_path / "again.toml"
    again.write_text(resolved.toml)
    assert resolve(str(again), Choices()).plan.rounds == 4
    inside = Choices(flags={"plan.rounds": Value(0, "simulated host")}, only=["two"])
    (turn,) = resolve(str(again), inside).plan.turns
    assert (turn.scenario.name, turn.round) == ("two", 0)


def test_the_live_lines_tell_rounds_apart(plan: Path) -> None:
    progress = Progress(
        scenario="one", phase="boot", loops=100, period_ns=1_000_000, round=2, elapsed_ns=0
    )
    assert describe(progress, 0).plain.startswith("one #2 ")
    resolved = resolve(str(plan), Choices()).plan
    once = resolve(str(plan), Choices(assignments=["plan.rounds=0"])).plan
    assert time_left_ns(resolved, {}) == 4 * time_left_ns(once, {})
