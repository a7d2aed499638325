"""Plans: values, their sources, and every way of getting them wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vmjitter.config.resolve import Choices, Resolved, resolve
from vmjitter.config.settings import SETTINGS
from vmjitter.config.sources import Value, builtin_plans, line_of, variable_of
from vmjitter.errors import UsageError
from vmjitter.model.plan import Disk, Network, Policy, Where
from vmjitter.tuning.recipes import recipe_knobs


def _plan(tmp_path: Path, text: str, choices: Choices | None = None) -> Resolved:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return resolve(str(path), choices or Choices())


MINIMAL = '[scenario.only]\ndisk = "virtio"\nloads = ["disk-rw"]\n'


def test_the_paper_is_complete() -> None:
    plan = resolve("paper", Choices()).plan
    assert [s.name for s in plan.scenarios] == [
        "native",
        "kernel",
        "kernel-io",
        "kernel-io-mitigated",
    ]
    assert plan.probe.loops == 240_000
    assert plan.probe.period_ns == 1_000_000
    assert plan.guest.kernel == "debian-rt-i386"
    assert (plan.guest.vcpus, plan.guest.memory_bytes) == (1, 1 << 30)
    worst = [s.paper_max_ns for s in plan.scenarios]
    assert worst == [5_000_000, 1_160_000, 100_550_000, 10_970_000]
    io = plan.scenarios[2]
    assert (io.disk, io.network, io.vhost) == (Disk.IDE, Network.E1000, False)
    mitigated = plan.scenarios[3]
    assert (mitigated.disk, mitigated.network, mitigated.vhost) == (
        Disk.VIRTIO,
        Network.VIRTIO,
        True,
    )
    assert mitigated.knobs == ("qemu-fifo-max",)
    assert plan.scenarios[0].where is Where.HOST
    assert [load.name for load in io.loads] == [load.name for load in mitigated.loads]


def test_later_sources_win_and_are_named(tmp_path: Path) -> None:
    choices = Choices(
        environ={"VMJITTER_PROBE_LOOPS": "7", "VMJITTER_PROBE_PRIORITY": "7", "HOME": "/"},
        flags={"probe.priority": Value(8, "--priority")},
        assignments=["probe.policy=rr"],
    )
    text = '[probe]\nperiod = "2ms"\nloops = 5\npriority = 5\npolicy = "other"\n' + MINIMAL
    resolved = _plan(tmp_path, text, choices)
    probe = resolved.plan.probe
    assert (probe.period_ns, probe.loops, probe.priority) == (2_000_000, 7, 8)
    assert probe.policy is Policy.RR
    assert 'period = "2ms"  # mine.toml:2' in resolved.toml
    assert 'loops = "7"  # VMJITTER_PROBE_LOOPS' in resolved.toml
    assert "priority = 8  # --priority" in resolved.toml
    assert 'policy = "rr"  # --set probe.policy' in resolved.toml
    assert "vcpus = 1  # default" in resolved.toml


def test_the_resolved_plan_can_be_run_again(tmp_path: Path) -> None:
    first = resolve("paper", Choices(only=["kernel"], assignments=["probe.loops=10"]))
    path = tmp_path / "paper.toml"
    path.write_text(first.toml)
    again = resolve(str(path), Choices())
    assert again.plan == first.plan
    assert tomllib.loads(first.toml)["probe"]["loops"] == "10"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[prob]\nloops = 5\n", "mine.toml:2: there is no key 'prob.loops'", "'probe.loops'"),
        ("[probe]\nloop = 5\n", "mine.toml:2: there is no key 'probe.loop'", "'probe.loops'"),
        ("[probe]\nloops = 0\n", "mine.toml:2: probe.loops: 0 is not between 1", ""),
        ('[probe]\nloops = "many"\n', "'many' is not a whole number", ""),
        ("[probe]\nloops = true\n", "True is not a whole number", ""),
        ('[probe]\nperiod = "fast"\n', "probe.period: 'fast' is not a duration", "1ms"),
        ('[probe]\nperiod = "0ms"\n', "probe.period: must be longer", ""),
        ('[probe]\npolicy = "fiffo"\n', "probe.policy: 'fiffo'", "'fifo'"),
        ("[guest]\nkernel = 3\n", "guest.kernel: 3 is not a text", ""),
        ("[load.upd]\nrate = 3\n", "there is no key 'load.upd.rate'", "'load.udp.rate'"),
        ("[probe\n", "mine.toml", "TOML"),
    ],
)
def test_mistakes_name_place_and_remedy(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        _plan(tmp_path, text + MINIMAL)
    assert message in error.value.message
    assert hint in error.value.hint
    assert error.value.exit_status == 2


@pytest.mark.parametrize(
    ("scenario", "message", "hint"),
    [
        ('loads = ["disk-sink"]', "there is no load 'disk-sink'", "'disk-sync'"),
        ('loads = ["disk-rw"]', "the load disk-rw needs a disk", "virtio"),
        ('loads = ["udp"]', "the load udp needs a network", "e1000"),
        ('knobs = ["qemu-fifo"]', "there is no knob 'qemu-fifo'", "'qemu-fifo-max'"),
        ('where = "host"\nknobs = ["qemu-fifo-max"]', "there is no QEMU to change", ""),
        ('disk = "floppy"', "scenario.x.disk: 'floppy'", "valid are"),
        ("vhost = 3", "3 is neither true nor false", ""),
    ],
)
def test_scenarios_that_cannot_be(tmp_path: Path, scenario: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        _plan(tmp_path, f"[scenario.x]\n{scenario}\n")
    assert message in error.value.message
    assert hint in error.value.hint


def test_unknown_names_on_the_command_line() -> None:
    with pytest.raises(UsageError, match="no plan 'papre'") as error:
        resolve("papre", Choices())
    assert "'paper'" in error.value.hint
    with pytest.raises(UsageError, match="--only kernel-oi") as error:
        resolve("paper", Choices(only=["kernel-oi"]))
    assert "'kernel-io'" in error.value.hint
    with pytest.raises(UsageError, match="no value"):
        resolve("paper", Choices(assignments=["probe.loops"]))
    with pytest.raises(UsageError, match="VMJITTER_PROBE_LOOP ") as error:
        resolve("paper", Choices(environ={"VMJITTER_PROBE_LOOP": "3"}))
    assert "VMJITTER_PROBE_LOOPS" in error.value.hint


def test_a_scenario_name_is_also_a_directory_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a scenario"):
        _plan(tmp_path, '[scenario."a/b"]\n')


def test_only_keeps_the_plans_order_and_drops_half_a_pair() -> None:
    plan = resolve("paper", Choices(only=["kernel-io", "native"])).plan
    assert [s.name for s in plan.scenarios] == ["native", "kernel-io"]
    assert plan.pair is None


def test_every_setting_has_help_and_a_default_that_parses() -> None:
    for setting in SETTINGS:
        assert setting.help, setting.key
        setting.parse(setting.default)
    variables = [variable_of(setting.key) for setting in SETTINGS]
    assert len(set(variables)) == len(variables)


def test_lines_are_found_in_the_right_table() -> None:
    text = "[a]\nx = 1\n[b]\n\nx = 2\n"
    assert line_of(text, "b.x") == 5
    assert line_of(text, "c.x") == 0


def test_every_built_in_plan_resolves() -> None:
    assert "paper" in builtin_plans()
    for name in builtin_plans():
        resolve(name, Choices())


def test_a_recipe_is_expanded_so_that_the_plan_needs_none(tmp_path: Path) -> None:
    keys = ("recipe=live-only", "knobs=pit-discard,ksm-off")
    choices = Choices(assignments=[f"scenario.kernel-io.{key}" for key in keys], only=["kernel-io"])
    resolved = resolve("paper", choices)
    [scenario] = resolved.plan.scenarios
    assert scenario.knobs[: len(recipe_knobs("live-only"))] == recipe_knobs("live-only")
    assert scenario.knobs[-1] == "pit-discard"
    assert len(set(scenario.knobs)) == len(scenario.knobs), "each once"
    file = tmp_path / "plan.toml"
    file.write_text(resolved.toml)
    assert "recipe live-only (--set scenario.kernel-io.recipe)" in resolved.toml
    assert resolve(str(file), Choices()).plan.scenarios == resolved.plan.scenarios


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(UsageError, match="no recipe 'live-onyl'") as caught:
        resolve("paper", Choices(assignments=["scenario.kernel-io.recipe=live-onyl"]))
    assert "live-only" in caught.value.hint
