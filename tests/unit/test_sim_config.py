"""Machines: simulated hosts as files, and where each of their values comes from."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vmjitter.config.resolve import Choices, Resolved, resolve, resolve_machine
from vmjitter.config.settings import DEFAULT_MACHINE
from vmjitter.config.sources import Value, builtin_machines, builtin_plans, read_machine
from vmjitter.errors import UsageError
from vmjitter.model.sim import Bench, Clock

SCENARIO = '[scenario.only]\nwhere = "host"\n'
MACHINE = """\
[sim]
title = "mine"
cpus = 3
quantum = 3
disk_depth = 3
disk_latency = "3us"

[wire]
delay = "3us"
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "machine.toml"
    path.write_text(MACHINE)
    return path


def _plan(tmp_path: Path, text: str, choices: Choices) -> Resolved:
    path = tmp_path / "plan.toml"
    path.write_text(text + SCENARIO)
    return resolve(str(path), choices)


def test_every_built_in_machine_is_usable() -> None:
    assert sorted(builtin_machines()) == ["fast-nvme", "paper-2012"]
    assert DEFAULT_MACHINE in builtin_machines()
    assert not set(builtin_machines()) & set(builtin_plans())
    for name in builtin_machines():
        spec = resolve_machine(Choices(assignments=[f"sim.machine={name}"]))
        assert spec.machine == name
        assert spec.title
        assert spec.disk_latency_ns > 0


def test_the_papers_machine_has_a_slow_disk_and_a_wire() -> None:
    choices = Choices(assignments=["bench.name=sim"])
    plan = resolve("paper", choices).plan
    assert plan.bench is Bench.SIM
    assert (plan.sim.disk_latency_ns, plan.sim.disk_depth) == (8_000_000, 1)
    assert plan.wire.delay_ns == 10_000
    fast = resolve_machine(Choices(assignments=["sim.machine=fast-nvme"]))
    assert fast.disk_latency_ns < plan.sim.disk_latency_ns
    assert fast.disk_depth > plan.sim.disk_depth


def test_later_sources_win_and_are_named(tmp_path: Path, machine: Path) -> None:
    text = (
        f'[bench]\nname = "sim"\n[sim]\nmachine = "{machine}"\n'
        "quantum = 4\ndisk_depth = 4\nseed = 4\nrepeats = 4\n"
    )
    choices = Choices(
        environ={"VMJITTER_SIM_DISK_DEPTH": "5", "VMJITTER_SIM_SEED": "5"},
        flags={"sim.seed": Value(6, "--seed"), "sim.repeats": Value(6, "--repeats")},
        assignments=["sim.repeats=7"],
    )
    resolved = _plan(tmp_path, text, choices)
    spec = resolved.plan.sim
    assert (spec.jobs, spec.cpus, spec.quantum) == (0, 3, 4)
    assert (spec.disk_depth, spec.seed, spec.repeats) == (5, 6, 7)
    assert resolved.plan.wire.delay_ns == 3_000
    for line in (
        "jobs = 0  # default",
        "cpus = 3  # machine.toml:3",
        'delay = "3us"  # machine.toml:9',
        "quantum = 4  # plan.toml:5",
        'disk_depth = "5"  # VMJITTER_SIM_DISK_DEPTH',
        "seed = 6  # --seed",
        'repeats = "7"  # --set sim.repeats',
    ):
        assert line in resolved.toml.splitlines()


def test_a_resolved_plan_needs_its_machine_no_more(tmp_path: Path, machine: Path) -> None:
    text = f'[bench]\nname = "sim"\n[sim]\nmachine = "{machine}"\n'
    first = _plan(tmp_path, text, Choices())
    again = tmp_path / "again" / "plan.toml"
    again.parent.mkdir()
    again.write_text(first.toml)
    assert resolve(str(again), Choices()).plan == first.plan
    machine.write_text(MACHINE.replace("cpus = 3", "cpus = 5"))
    assert resolve(str(again), Choices()).plan == first.plan
    assert tomllib.loads(first.toml)["sim"]["cpus"] == 3


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[sim]\n\ncpu = 2\n", "machine.toml:3: a machine has no key 'sim.cpu'", "'sim.cpus'"),
        ("[wire]\ndelai = 2\n", "machine.toml:2: a machine has no key 'wire.delai'", "wire.delay"),
        ("[sim]\nseed = 2\n", "machine.toml:2: a machine has no key 'sim.seed'", ""),
        ("[probe]\nloops = 2\n", "machine.toml:2: a machine has no key 'probe.loops'", ""),
        ("[sim]\ncpus = 17\n", "machine.toml:2: sim.cpus: 17 is not between 1 and 16", ""),
        ("[sim]\nquantum = 33\n", "machine.toml:2: sim.quantum: 33 is not between 1 and 32", ""),
        ('[sim]\ndisk_latency = "8"\n', "machine.toml:2: sim.disk_latency: '8'", "1ms"),
        ("[sim\n", "machine.toml: ", "a machine is a TOML file"),
    ],
)  # fmt: skip
def test_mistakes_name_place_and_remedy(machine: Path, text: str, message: str, hint: str) -> None:
    machine.write_text(text)
    with pytest.raises(UsageError) as error:
        resolve_machine(Choices(assignments=[f"sim.machine={machine}"]))
    assert message in error.value.message
    assert hint in error.value.hint


def test_an_unknown_machine_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="no machine 'paper-2021'") as error:
        read_machine("paper-2021")
    assert "'paper-2012'" in error.value.hint
    with pytest.raises(UsageError, match="no machine 'zzz'") as error:
        read_machine("zzz")
    assert "fast-nvme, paper-2012" in error.value.hint


@pytest.mark.parametrize("name", ["no-such-machine", ""])
def test_without_a_simulated_host_no_machine_is_read(tmp_path: Path, name: str) -> None:
    resolved = _plan(tmp_path, "", Choices(assignments=[f"sim.machine={name}"]))
    assert resolved.plan.bench is Bench.LOCAL
    assert resolved.plan.wire.delay_ns == 0
    with pytest.raises(UsageError, match="no machine"):
        _plan(tmp_path, "", Choices(assignments=[f"sim.machine={name}", "bench.name=sim"]))


def test_a_machine_without_a_plan() -> None:
    choices = Choices(
        environ={"VMJITTER_SIM_CPUS": "4"},
        flags={"sim.clock": Value("real", "--clock")},
        assignments=["sim.memory=1G"],
    )
    spec = resolve_machine(choices)
    assert (spec.machine, spec.clock, spec.cpus) == (DEFAULT_MACHINE, Clock.REAL, 4)
    assert spec.memory_bytes == 1 << 30
    assert spec.kernel == "debian-cloud-amd64"


def test_an_unknown_key_without_a_plan() -> None:
    with pytest.raises(UsageError, match=r"--set sim.cpu: there is no key 'sim.cpu'") as error:
        resolve_machine(Choices(assignments=["sim.cpu=3"]))
    assert "'sim.cpus'" in error.value.hint
    with pytest.raises(UsageError, match=r"--clock: sim.clock: 'reel' is not valid") as error:
        resolve_machine(Choices(flags={"sim.clock": Value("reel", "--clock")}))
    assert "'real'" in error.value.hint
