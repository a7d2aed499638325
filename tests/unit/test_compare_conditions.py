"""What may be compared, what is refused with its name, and what is listed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fakes.pairmaker import PLAN, group, paired_run, turns
from fakes.runmaker import TrialMaker, make_knob, make_load, make_proof
from vmjitter.errors import UsageError
from vmjitter.model.judge import Target
from vmjitter.model.run import TrialState
from vmjitter.report.comparable import CONDITION_NAMES, Compared, compare_groups, examine
from vmjitter.report.result import judge
from vmjitter.stats.comparison import Change
from vmjitter.store.reader import read_run

PLAIN = Target(deadline_ns=None)
ONE = (("a", 0),)
HOST = {"cpu": "Testcore 9000", "kernel": "Linux version 6.12.0 (builder@host)"}


def two_runs(tmp_path: Path, changes: dict[str, object], info: dict[str, object]) -> Compared:
    """The same scenario in two runs, the second one with changes; refused or compared."""
    before = paired_run(tmp_path / "old", turns(ONE, wake_ups=1000), host=HOST)
    changed = turns(ONE, wake_ups=1000, **changes)  # type: ignore[arg-type]
    after = paired_run(tmp_path / "new", changed, **{"host": HOST, **info})
    return compare_groups(group(before, "a"), group(after, "a"), PLAIN)


REFUSED = [
    ("period", {"period_ns": 500_000}, {}, "the period: 1.00 ms against 500.00 µs"),
    ("kernel", {"guest_facts": {"kernel": "Linux 5.10"}}, {}, "Linux guest 6.12-rt against Linux"),
    (
        "load",
        {"loads": (make_load("shm"),)},
        {},
        "guest shm 1000, guest udp 1000, host udp 1000 against guest shm 1000",
    ),
    ("load", {"loads": ()}, {}, "against none"),
    ("accel", {"accel": "kvm"}, {}, "the accelerator: tcg against kvm"),
    (
        "clock",
        {"probe": dataclasses.replace(make_proof(), clocksource_before="kvm-clock")},
        {},
        "tsc against kvm-clock",
    ),
    (
        "probe",
        {"probe": dataclasses.replace(make_proof(), policy="other", priority=0)},
        {},
        "vmjitter fifo:95 against vmjitter other:0",
    ),
    ("host-kernel", {}, {"host": {**HOST, "kernel": "Linux version 6.1"}}, "6.1"),
    ("host", {}, {"host": {**HOST, "cpu": "Othercore"}}, "Testcore 9000 against Othercore"),
    ("host", {}, {"simulation": {"machine": "paper-2012", "cpus": "2"}}, "simulated: paper-2012"),
]


@pytest.mark.parametrize(("name", "changes", "info", "words"), REFUSED)
def test_another_condition_is_refused_by_name(
    tmp_path: Path, name: str, changes: dict[str, object], info: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        two_runs(tmp_path, changes, info)
    assert words in caught.value.message
    assert f"({name})" in caught.value.message
    assert f"--allow {name}" in caught.value.hint


def test_an_allowed_difference_stands_beside_the_result(tmp_path: Path) -> None:
    before = paired_run(tmp_path / "old", turns(ONE, wake_ups=1000))
    after = paired_run(tmp_path / "new", turns(ONE, wake_ups=1000, accel="kvm"))
    found = compare_groups(group(before, "a"), group(after, "a"), PLAIN, allow=["accel"])
    assert [difference.name for difference in found.allowed] == ["accel"]


def test_all_differences_are_named_at_once(tmp_path: Path) -> None:
    before = paired_run(tmp_path / "old", turns(ONE, wake_ups=1000))
    after = paired_run(tmp_path / "new", turns(ONE, wake_ups=2000, accel="kvm"))
    with pytest.raises(UsageError) as caught:
        compare_groups(group(before, "a"), group(after, "a"), PLAIN, allow=["kernel"])
    assert "activations of a trial: 1000 against 2000 (length)" in caught.value.message
    assert "the accelerator: tcg against kvm (accel)" in caught.value.message
    assert caught.value.hint.endswith("--allow length --allow accel")


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    run = paired_run(tmp_path / "run")
    with pytest.raises(UsageError, match="--allow kernal") as caught:
        compare_groups(group(run, "a"), group(run, "b"), PLAIN, allow=["kernal"])
    assert "'kernel'" in caught.value.hint
    assert len(set(CONDITION_NAMES)) == len(CONDITION_NAMES)


def test_what_a_side_does_not_tell_is_no_difference_but_said(tmp_path: Path) -> None:
    before = paired_run(tmp_path / "old", turns(ONE, wake_ups=1000, guest_facts={}))
    after = paired_run(tmp_path / "new", turns(ONE, wake_ups=1000))
    found = examine(group(before, "a"), group(after, "a"))
    assert found.forbidding == ()
    assert found.unknown == ("the kernel under the probe (A)",)


def test_a_group_that_is_mixed_in_itself_is_refused(tmp_path: Path) -> None:
    mixed = [
        *turns((("a", 1), ("b", 1)), wake_ups=1000),
        *turns((("a", 2), ("b", 2)), wake_ups=1000, accel="kvm"),
    ]
    run = paired_run(tmp_path / "run", mixed)
    with pytest.raises(UsageError, match="kvm / tcg against kvm / tcg"):
        compare_groups(group(run, "a"), group(run, "b"), PLAIN)


def test_lengths_that_differ_by_a_few_cycles_are_alike(tmp_path: Path) -> None:
    before = paired_run(tmp_path / "old", turns(ONE, wake_ups=1000))
    after = paired_run(tmp_path / "new", turns(ONE, wake_ups=1002))
    assert examine(group(before, "a"), group(after, "a")).forbidding == ()


def test_devices_knobs_and_settings_are_what_is_compared(tmp_path: Path) -> None:
    trials = turns()
    knobs = (make_knob(),)
    trials = [
        dataclasses.replace(one, status=dataclasses.replace(one.status, knobs=knobs))
        if one.status.scenario == "b"
        else one
        for one in trials
    ]
    run = paired_run(tmp_path / "run", trials)
    found = examine(group(run, "a"), group(run, "b"))
    assert {each.name: (each.before, each.after) for each in found.compared} == {
        "disk": ("ide", "virtio"),
        "vhost": ("false", "true"),
        "knobs": ("none", "qemu-fifo-max"),
        "knobs in force": ("", "vcpu-priority=fifo:99"),
    }
    other = paired_run(tmp_path / "other", host={"governor": "performance"})
    (other / "plan.toml").write_text(PLAN.replace("1G", "2G"))
    found = examine(group(run, "a"), group(other, "a"))
    assert [each.text for each in found.compared] == [
        "guest.memory: 1G against 2G", "host governor: none against performance"
    ]  # fmt: skip


def test_a_broken_plan_is_no_obstacle(tmp_path: Path) -> None:
    run = paired_run(tmp_path / "run")
    (run / "plan.toml").write_text("not = [toml")
    assert examine(group(run, "a"), group(run, "b")).compared == ()


# -- which trials, in which order ----------------------------------------------------------------


def test_invalid_trials_are_left_out_and_too_few_remain(tmp_path: Path) -> None:
    trials = turns()
    broken = dataclasses.replace(trials[0].status, invalid=("the load shm stopped",))
    trials[0] = dataclasses.replace(trials[0], status=broken)
    cut = dataclasses.replace(trials[1].status, state=TrialState.INTERRUPTED)
    trials[1] = dataclasses.replace(trials[1], status=cut)
    run = paired_run(tmp_path / "run", trials)
    found = compare_groups(group(run, "a"), group(run, "b"), PLAIN)
    assert [member.trial.name for member in found.before.excluded] == ["a #1"]
    assert [member.trial.name for member in found.after.excluded] == ["b #1"]
    assert found.change is Change.TOO_FEW
    assert found.exit_status == 4


def test_nothing_at_all(tmp_path: Path) -> None:
    run = paired_run(tmp_path / "run", [])
    found = compare_groups(group(run, "a"), group(run, "b"), PLAIN)
    assert found.exit_status == 4
    assert found.comparison.curves is None


def test_exit_status_by_what_is_shown(tmp_path: Path) -> None:
    run = paired_run(tmp_path / "run")
    better = compare_groups(group(run, "a"), group(run, "b"), PLAIN)
    assert (better.change, better.exit_status) == (Change.BETTER, 0)
    worse = compare_groups(group(run, "b"), group(run, "a"), PLAIN)
    assert (worse.change, worse.exit_status) == (Change.WORSE, 3)


def test_rounds_of_one_run_are_in_blocks(tmp_path: Path) -> None:
    order = [(name, 1 + place) for place in range(6) for name in ("ab" if place % 2 else "ba")]
    run = paired_run(tmp_path / "run", turns(order, wake_ups=1000))
    found = compare_groups(group(run, "a"), group(run, "b"), PLAIN)
    assert found.comparison.blocks == 3
    assert "ABBA" in found.order


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        ((0, 1, 2, 3), "before those of the other"),
        ((2, 3, 0, 1), "before those of the other"),
        ((0, 2, 1, 3), "in turn, but not in blocks"),
        ((0, 1, 2, None), "not known in which order"),
    ],
)
def test_the_order_is_told(tmp_path: Path, minutes: tuple[int | None, ...], words: str) -> None:
    trials: list[TrialMaker] = []
    for scenario, minute in zip("aabb", minutes, strict=True):
        started = "" if minute is None else f"2026-01-31T14:{minute:02}:00+00:00"
        trials += turns(((scenario, 0),), wake_ups=500, started_utc=started)
    run = paired_run(tmp_path / "run", trials)
    assert words in compare_groups(group(run, "a"), group(run, "b"), PLAIN).order


def test_conditions_of_the_trials_travel_along(tmp_path: Path) -> None:
    run = paired_run(tmp_path / "run")
    found = compare_groups(group(run, "a"), group(run, "b"), PLAIN)
    assert found.words == judge(read_run(run)).trials[0].conditions
