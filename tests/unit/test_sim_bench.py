"""A run in simulated hosts, which are fakes with real tapes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fakes.fake_sim_host import (
    SPEED,
    FakeSimulator,
    Script,
    Step,
    end_record,
    file_record,
    progress_record,
)
from fakes.runmaker import header_bytes, latencies, make_status, record_bytes
from fakes.sim_parts import make_build
from vmjitter.bench import sim
from vmjitter.bench.handover import unpack_guest, unpack_surroundings
from vmjitter.config.resolve import Choices, Resolved, resolve
from vmjitter.errors import SimulationLost, SimulationStalled, UsageError, VmjitterError
from vmjitter.guest.image import GuestImage
from vmjitter.model.run import TrialState
from vmjitter.model.sim import Clock
from vmjitter.session.progress import Progress
from vmjitter.sim.host import Job
from vmjitter.sim.mirror import receive
from vmjitter.store.reader import Run, read_run
from vmjitter.store.rundir import to_json

PLAN = """
[probe]
loops = 100
[scenario.one]
where = "host"
[scenario.two]
where = "host"
[scenario.three]
where = "host"
"""
LATENCY = latencies(100, seed=1, worst_ns=50_000)


def _plan(place: Path, *assignments: str, only: Sequence[str] = ()) -> Resolved:
    path = place / "mine.toml"
    path.write_text(PLAN)
    return resolve(str(path), Choices(assignments=["bench.name=sim", *assignments], only=only))


def measured(name: str, **changes: object) -> list[Step]:
    """What the host of a trial that goes well has to say; the trial is the first one there."""
    place = f"trials/01-{name}"
    status = make_status(name, loops=100, recorded=100, conditions=("x",), **changes)
    samples = header_bytes(loops=100) + record_bytes(LATENCY)
    head = {"host": {"cpu": "Simulated", "kernel": "Linux 6.1"}, "qemu": {f"image_{name}": "1"}}
    return [
        file_record("run.json", json.dumps(head).encode()),
        file_record(f"{place}/status.json", b"{}"),
        progress_record(Progress(scenario=name, phase="boot", loops=100, period_ns=1_000_000)),
        file_record(f"{place}/samples.raw", samples[:700]),
        file_record(f"{place}/samples.raw", samples[700:], offset=700),
        file_record(f"{place}/status.json", to_json(status).encode()),
        file_record("plan.toml", b"not this one"),
        end_record(),
    ]


class Bench:
    """Runs plans against a fake simulator."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.output = place / "run"
        self.reports: list[Progress] = []
        self.said: list[str] = []
        self.images: dict[str, GuestImage] = {}
        self._monkeypatch = monkeypatch
        self._build = make_build(place / "parts")

    def run(
        self,
        script: Script,
        *assignments: str,
        report: Callable[[Progress], None] | None = None,
        only: Sequence[str] = (),
    ) -> FakeSimulator:
        simulator = FakeSimulator(script)
        self._monkeypatch.setattr(sim, "SimulatedHost", simulator)
        self._monkeypatch.setattr(sim, "guest_images", lambda *_: self.images)
        self._monkeypatch.setattr(sim, "build", lambda *_, **__: self._build)
        resolved = _plan(self.place, *assignments, only=only)
        try:
            sim.run_plan(
                resolved, self.output, say=self.said.append, report=report or self.reports.append
            )
        finally:
            assert simulator.running == 0
            assert not list(self.output.glob(".sim-*"))
        return simulator

    def stored(self) -> Run:
        return read_run(self.output)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_every_trial_is_stored_in_its_own_directory(bench: Bench) -> None:
    bench.run(lambda name, _: measured(name))
    stored = bench.stored()
    assert stored.info.state is TrialState.DONE
    assert [trial.path.name for trial in stored.trials] == ["01-one", "02-two", "03-three"]
    for trial in stored.trials:
        assert trial.status.state is TrialState.DONE
        assert trial.latency_ns.tolist() == LATENCY.tolist()
        assert (trial.path / sim.HOST_LOG).read_text() == "last words of the console\n"
    assert stored.plan_toml.startswith("# The plan 'mine' as it was measured")


def test_the_run_says_what_it_was_simulated_with(bench: Bench) -> None:
    bench.run(lambda name, _: measured(name), "sim.seed=7", "sim.cpus=2")
    info = bench.stored().info
    assert info.bench == "sim"
    assert info.host == {"cpu": "Simulated", "kernel": "Linux 6.1"}
    assert info.qemu == {"image_one": "1", "image_two": "1", "image_three": "1"}
    facts = info.simulation
    assert (facts["clock"], facts["machine"], facts["seed"]) == ("virtual", "paper-2012", "7")
    assert facts["model"] == sim.CONDITIONS[Clock.VIRTUAL]
    assert (facts["disk_latency"], facts["wire_delay"]) == ("8.00 ms", "10.00 µs")
    assert (facts["bochs"], facts["qemu-system-x86"]) == ("3.0", "1:7.2")
    assert facts["real_s_per_virtual_s.two"] == f"{1 / SPEED:.1f}"


def test_progress_is_reported_with_its_speed(bench: Bench) -> None:
    bench.run(lambda name, _: measured(name), only=["one"])
    assert bench.reports[0].phase == "simulated host boots"
    assert bench.reports[0].speed == 0
    assert bench.reports[-1].phase == "boot"
    assert bench.reports[-1].speed == SPEED
    assert bench.reports[-1].scenario == "one"


def test_while_it_runs_a_trial_says_under_which_conditions(bench: Bench) -> None:
    seen: list[Run] = []
    bench.run(
        lambda name, _: measured(name), only=["one"], report=lambda _: seen.append(bench.stored())
    )
    early = next(run for run in seen if run.trials)
    assert early.trials[0].status.conditions == (sim.CONDITIONS[Clock.VIRTUAL],)
    assert early.trials[0].status.loops == 100


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SimulationStalled("no progress for 1:00"), "stalled: no progress for 1:00"),
        (SimulationLost("it ended"), "lost: it ended"),
    ],
)
def test_a_trial_without_luck_is_repeated_and_knows_it(
    bench: Bench, error: SimulationLost, reason: str
) -> None:
    def script(name: str, attempt: int) -> list[Step]:
        if name == "two" and attempt == 0:
            return [*measured(name)[:4], error]
        return measured(name)

    simulator = bench.run(script)
    assert [name for name, _ in simulator.jobs].count("two") == 2
    jobs = simulator.jobs_of("two")
    assert [_surroundings(bench, job)["repeated"] for job in jobs] == [[], [reason]]
    assert _surroundings(bench, jobs[0])["bench"] == "sim"
    assert _surroundings(bench, simulator.jobs_of("one")[-1])["repeated"] == []
    trial = bench.stored().trial("two")
    assert trial is not None
    assert trial.latency_ns.tolist() == LATENCY.tolist()
    assert trial.status.state is TrialState.DONE


def _surroundings(bench: Bench, job: Job) -> dict[str, object]:
    content: dict[str, object] = json.loads(job.files["surroundings.json"])
    for name, data in job.files.items():
        receive(file_record(name, data), bench.place / "job", name)
    assert unpack_surroundings(bench.place / "job").conditions == tuple(content["conditions"])  # type: ignore[arg-type]
    return content


@pytest.mark.parametrize("repeats", [0, 2])
def test_too_many_stalls_end_the_run_which_stays_readable(bench: Bench, repeats: int) -> None:
    def script(name: str, _attempt: int) -> list[Step]:
        return [*measured(name)[:4], SimulationStalled("no progress", evidence="console")]

    with pytest.raises(SimulationStalled, match="no progress"):
        bench.run(script, f"sim.repeats={repeats}", only=["one"])
    stored = bench.stored()
    assert stored.info.state is TrialState.FAILED
    assert stored.trials[0].recorded > 0
    assert stored.info.host["cpu"] == "Simulated"
    assert (stored.trials[0].path / sim.HOST_LOG).exists()


def test_a_trial_that_did_not_end_says_why(bench: Bench) -> None:
    def script(name: str, _attempt: int) -> list[Step]:
        begun = measured(name)[2:4]
        return [*begun, SimulationLost("the host is gone")] if name == "two" else begun

    with pytest.raises(SimulationLost, match="the host is gone"):
        bench.run(script, "sim.repeats=0", "sim.jobs=3")
    states = {trial.status.scenario: trial.status for trial in bench.stored().trials}
    assert (states["two"].state, states["two"].error) == (TrialState.FAILED, "the host is gone")
    assert states["one"].state is TrialState.INTERRUPTED
    assert states["one"].error == "another trial failed"


def test_repetitions_are_counted(bench: Bench) -> None:
    attempts: list[int] = []

    def script(_name: str, attempt: int) -> list[Step]:
        attempts.append(attempt)
        return [SimulationStalled("x")]

    with pytest.raises(SimulationStalled):
        bench.run(script, "sim.repeats=3", only=["one"])
    assert attempts == [0, 1, 2, 3]


def test_of_an_attempt_that_was_repeated_only_its_log_stays(bench: Bench) -> None:
    def script(name: str, attempt: int) -> list[Step]:
        early = file_record("trials/01-one/early", b"x")
        return [early, SimulationStalled("x")] if attempt < 2 else measured(name)

    bench.run(script, only=["one"])
    names = {path.name for path in bench.stored().trials[0].path.iterdir()}
    logs = {sim.HOST_LOG, "simulated-host-attempt-1.log", "simulated-host-attempt-2.log"}
    assert names == {"status.json", "samples.raw", *logs}


def test_a_32_bit_guest_and_the_real_clock_are_refused_before_anything_is_made(
    bench: Bench,
) -> None:
    image = _image(bench.place, "one")
    kernel = dataclasses.replace(image.kernel, arch="i386")
    bench.images["one"] = dataclasses.replace(image, kernel=kernel)
    with pytest.raises(UsageError, match="32-bit guest of one") as error:
        bench.run(lambda name, _: measured(name), "sim.clock=real")
    assert "debian-rt-amd64" in error.value.hint
    assert not bench.output.exists()
    bench.run(lambda name, _: measured(name), "sim.clock=real", "guest.accel=tcg")


def test_an_error_in_the_simulated_host_is_an_error_here(bench: Bench) -> None:
    end = end_record(1, message="no KVM", hint="use a kernel with KVM", evidence="dmesg")

    def script(name: str, _attempt: int) -> list[Step]:
        return [*measured(name)[:-1], end] if name == "two" else measured(name)[:4]

    with pytest.raises(VmjitterError) as error:
        bench.run(script, "sim.jobs=3")
    assert not isinstance(error.value, SimulationLost)
    assert (error.value.message, error.value.hint) == ("no KVM", "use a kernel with KVM")
    assert error.value.evidence == "dmesg"
    stored = bench.stored()
    assert stored.info.state is TrialState.FAILED
    assert [trial.status.scenario for trial in stored.trials] == ["one", "two", "three"]
    assert stored.trials[1].recorded == 100


def test_an_error_without_words(bench: Bench) -> None:
    with pytest.raises(VmjitterError, match="the simulated host failed"):
        bench.run(lambda *_: [end_record(7)])


def test_an_interruption_is_not_a_failure(bench: Bench) -> None:
    def script(name: str, _attempt: int) -> list[Step]:
        return measured(name) if name == "one" else [*measured(name)[:4], KeyboardInterrupt()]

    with pytest.raises(KeyboardInterrupt):
        bench.run(script, "sim.jobs=1")
    stored = bench.stored()
    assert stored.info.state is TrialState.INTERRUPTED
    assert stored.trials[0].status.state is TrialState.DONE
    assert stored.trials[0].recorded == 100
    assert stored.trials[1].recorded > 0
    assert stored.not_measured == ("three",)


@pytest.mark.parametrize(("jobs", "most"), [(1, 1), (2, 2), (5, 3)])
def test_no_more_hosts_than_allowed_run_at_a_time(bench: Bench, jobs: int, most: int) -> None:
    simulator = bench.run(lambda name, _: measured(name), f"sim.jobs={jobs}")
    assert simulator.most == most
    assert len(simulator.jobs) == 3
    assert bench.stored().info.state is TrialState.DONE


def test_by_default_one_host_runs_per_cpu(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmjitter.bench.sim.os.sched_getaffinity", lambda _: {0, 3})
    assert bench.run(lambda name, _: measured(name)).most == 2


def test_a_job_has_the_plan_and_its_own_guest_only(bench: Bench) -> None:
    for name in ("one", "two"):
        bench.images[name] = _image(bench.place, name)
    simulator = bench.run(lambda name, _: measured(name), "sim.disk_depth=5")
    (job,) = simulator.jobs_of("two")
    request = json.loads(job.files["request.json"])
    assert (request["only"], request["disk_depth"]) == ("two", 5)
    assert request["disk_latency_ns"] == 8_000_000
    assert b"image two" in job.files.values()
    assert b"image one" not in job.files.values()
    place = bench.place / "job"
    for path, data in job.files.items():
        receive(file_record(path, data), place, path)
    again = resolve(str(place / request["plan"]), Choices(only=["two"], assignments=[]))
    guest = unpack_guest(place, again.plan)
    assert guest is not None
    assert list(guest.images) == ["two"]
    assert guest.images["two"].initramfs.read_bytes() == b"image two"


def test_kernels_of_guests_are_handed_over_and_named_by_scenario(bench: Bench) -> None:
    for name in ("one", "two"):
        image = _image(bench.place, name)
        vmlinuz = bench.place / f"vmlinuz-{name}"
        vmlinuz.write_bytes(f"kernel {name}".encode())
        kernel = dataclasses.replace(
            image.kernel, name=f"k-{name}", vmlinuz=vmlinuz, sha256=name.ljust(64, "0")
        )
        bench.images[name] = dataclasses.replace(image, kernel=kernel)
    simulator = bench.run(lambda name, _: measured(name), only=["one", "two"])
    for name, other in (("one", "two"), ("two", "one")):
        (job,) = simulator.jobs_of(name)
        assert f"kernel {name}".encode() in job.files.values()
        assert f"kernel {other}".encode() not in job.files.values()
    qemu = bench.stored().info.qemu
    assert (qemu["kernel.one"], qemu["kernel.two"]) == ("k-one", "k-two")
    assert qemu["kernel"] == "k-one / k-two"


def _image(place: Path, name: str) -> GuestImage:
    kernel = make_build(place / "guest" / name).kernel
    initramfs = place / f"{name}.cpio"
    initramfs.write_bytes(f"image {name}".encode())
    return GuestImage(
        kernel=kernel, initramfs=initramfs, sha256=name.ljust(64, "0"), modules=("ext4",)
    )


def test_what_exists_is_not_overwritten(bench: Bench) -> None:
    bench.output.mkdir()
    (bench.output / "mine").touch()
    with pytest.raises(UsageError, match="not an empty directory"):
        bench.run(lambda name, _: measured(name))
    assert [path.name for path in bench.output.iterdir()] == ["mine"]
