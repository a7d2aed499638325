"""The verb `compare`, and `run --compare` up to the measurement."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fakes.pairmaker import paired_run, turns
from fakes.runmaker import make_proof
from vmjitter.cli import compare_cmd, run_cmd
from vmjitter.config.resolve import Choices, resolve
from vmjitter.config.sources import Value
from vmjitter.errors import DataError, MeasurementInvalid, UsageError
from vmjitter.store.seal import seal_run, verify_checksums


def call(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    compare_cmd.register(app)
    done = CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": "100"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = paired_run(tmp_path_factory.mktemp("pair") / "run", turns(wake_ups=1000))
    seal_run(path)
    return path


def test_a_run_that_measured_in_turn(run: Path, tmp_path: Path) -> None:
    figure = tmp_path / "figure.svg"
    status, shown = call(str(run), "-o", str(figure))
    assert status == 0
    assert "BETTER: with b" in shown
    assert str(figure) in shown
    assert figure.exists()
    assert "A a #1" not in shown
    assert "A a #1" in call(str(run), "--details")[1]


def test_two_sides_by_name(run: Path) -> None:
    status, shown = call(f"{run}:b", f"{run}:a", "--json")
    assert status == 3
    found = json.loads(shown)
    assert found["verdict"] == "worse"
    assert found["before"]["label"] == f"{run}:b"
    same = json.loads(call(str(run), "--scenarios", "b,a", "--json")[1])
    assert same["figures"] == found["figures"]


def test_several_runs_form_a_side(tmp_path: Path) -> None:
    sides: dict[str, list[str]] = {"a": [], "b": []}
    for place, name in enumerate("abbaabba"):
        pair = turns((("a", 0), ("b", 0)), wake_ups=1000, seed=2 * place)
        sides[name].append(f"{paired_run(tmp_path / f'run{place}', pair)}:{name}")
    status, shown = call(",".join(sides["a"]), ",".join(sides["b"]), "--details")
    assert status == 0
    assert "BETTER" in shown
    assert "run0 a" in shown
    assert "run7 a" in shown


def test_a_path_may_hold_a_comma_or_a_colon(tmp_path: Path) -> None:
    one = paired_run(tmp_path / "a,1:2", turns((("a", 0),), wake_ups=1000))
    other = paired_run(tmp_path / "b", turns((("b", 0),), wake_ups=1000))
    assert call(str(one), str(other))[0] == 4
    assert call(f"{one}", f"{other}:b")[0] == 4
    with pytest.raises(DataError, match="not a run directory"):
        call(str(tmp_path / "none"), str(other))


def test_a_deadline_gives_misses(run: Path) -> None:
    found = json.loads(call(str(run), "--deadline", "1ms", "--confidence", "90", "--json")[1])
    assert found["deadline_ns"] == 1_000_000
    assert found["confidence_percent"] == 90
    assert [row["figure"] for row in found["figures"]][-2:] == ["misses", "miss episodes"]


def test_a_figure_named_beforehand(run: Path) -> None:
    found = json.loads(call(str(run), "--primary", "p99", "--json")[1])
    assert found["primary"] == "p99"
    tested = [row["figure"] for row in found["figures"] if row["tested"]]
    assert tested == ["p99", "max"]


def test_too_few(tmp_path: Path) -> None:
    path = paired_run(tmp_path / "run", turns((("a", 1), ("b", 1)), wake_ups=1000))
    status, shown = call(str(path))
    assert status == 4
    assert "INCONCLUSIVE" in shown


def test_what_must_not_be_compared(run: Path, tmp_path: Path) -> None:
    other = paired_run(tmp_path / "other", turns(wake_ups=1000, accel="kvm"))
    with pytest.raises(UsageError, match="accelerator: tcg against kvm"):
        call(f"{run}:a", f"{other}:a")
    status, shown = call(f"{run}:a", f"{other}:a", "--allow", "accel")
    assert status == 0
    assert "in spite of another condition: the accelerator" in shown


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        (("RUN:a", "RUN:a"), "are the same trials", "RUN:SCENARIO"),
        (("RUN:a", "RUN:c"), "has no trial of 'c'", "valid are: a, b"),
        (("RUN:a", "RUN"), "holds several scenarios: a, b", ":a"),
        (("RUN", "--scenarios", "a"), "two different scenarios", "--scenarios a,b"),
        (("RUN", "--scenarios", "a,a"), "two different scenarios", "--scenarios a,b"),
        (("RUN", "--scenarios", "a,x"), "has no trial of 'x'", "a, b"),
        (("RUN:a", "RUN:b", "--scenarios", "a,b"), "there are two", ":SCENARIO"),
        (("RUN", "--primary", "p98"), "no such figure", "'p99'"),
        (("RUN", "--allow", "nothing"), "no such condition", "period"),
        (("RUN", "--confidence", "101"), "confidence of 101", "95"),
        (("RUN", "-o", "figure.gif"), "cannot be of the kind", ".svg"),
    ],
)
def test_usage(run: Path, arguments: tuple[str, ...], words: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        call(*(argument.replace("RUN", str(run)) for argument in arguments))
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_a_run_without_a_pair(tmp_path: Path) -> None:
    path = paired_run(tmp_path / "run", turns(wake_ups=1000), pair=None)
    assert call(str(path))[0] == 0  # it has two scenarios
    third = turns((("a", 1), ("b", 1)), wake_ups=1000) + turns((("b", 2),), wake_ups=1000)
    lonely = paired_run(tmp_path / "lonely", third[:1], pair=None)
    with pytest.raises(UsageError, match="does not say which two"):
        call(str(lonely))


def test_a_changed_file_is_told(run: Path, tmp_path: Path) -> None:
    path = paired_run(tmp_path / "run", turns(wake_ups=1000))
    seal_run(path)
    (path / "plan.toml").write_text("# other\n")
    status, shown = call(str(path))
    assert status == 0
    assert "was changed after the measurement" in " ".join(shown.split())
    assert "was changed" not in call(str(run))[1]


def test_after_the_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = paired_run(tmp_path / "run", turns(wake_ups=1000))
    with pytest.raises(typer.Exit) as caught:
        compare_cmd.finish_comparison(path, as_json=True)
    assert caught.value.exit_code == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["trials"]) == 8
    assert found["comparison"]["verdict"] == "better"
    assert (path / "figures" / "compare-a-b.svg").exists()
    assert (path / "report.html").exists()
    assert verify_checksums(path) == []


def test_a_condition_that_changed_meanwhile_is_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = turns(wake_ups=1000)
    probe = dataclasses.replace(make_proof(), clocksource_before="hpet")
    trials[2] = dataclasses.replace(
        trials[2], status=dataclasses.replace(trials[2].status, probe=probe)
    )
    path = paired_run(tmp_path / "run", trials)
    with pytest.raises(MeasurementInvalid, match=r"tsc against hpet / tsc \(clock\)") as caught:
        compare_cmd.finish_comparison(path, as_json=True)
    assert caught.value.exit_status == 4
    assert "--allow" in caught.value.hint
    found = json.loads(capsys.readouterr().out)
    assert found["comparison"] is None
    assert len(found["trials"]) == 8
    assert verify_checksums(path) == []
    assert call(str(path), "--allow", "clock")[0] == 0


# -- run --compare -------------------------------------------------------------------------------


def test_scenarios_are_measured_in_turn() -> None:
    flags = {"plan.rounds": Value(3, "--rounds")}
    plan = resolve("paper", Choices(flags=flags, only=["kernel", "kernel-io"])).plan
    assert [(turn.scenario.name, turn.round) for turn in plan.turns] == [
        ("kernel", 1), ("kernel-io", 1), ("kernel-io", 2), ("kernel", 2),
        ("kernel", 3), ("kernel-io", 3),
    ]  # fmt: skip
    once = resolve("paper", Choices()).plan
    assert [(turn.scenario, turn.round) for turn in once.turns] == [
        (scenario, 0) for scenario in once.scenarios
    ]


def test_compare_fixes_pair_and_rounds() -> None:
    choices = run_cmd._comparing(Choices(), "kernel-io-mitigated, kernel")
    plan = resolve("paper", choices).plan
    assert plan.rounds == 4
    assert plan.pair == ("kernel-io-mitigated", "kernel")
    assert len(plan.turns) == 8
    more = Choices(flags={"plan.rounds": Value(6, "--rounds")})
    assert resolve("paper", run_cmd._comparing(more, "kernel,native")).plan.rounds == 6


@pytest.mark.parametrize(
    ("choices", "compare", "words"),
    [
        (Choices(), "kernel", "two different scenarios"),
        (Choices(), "kernel,", "two different scenarios"),
        (Choices(), "kernel,kernel", "two different scenarios"),
        (Choices(only=["kernel"]), "kernel,native", "exclude each other"),
        (Choices(flags={"plan.rounds": Value(3, "--rounds")}), "kernel,native", "so few trials"),
    ],
)
def test_run_refuses(choices: Choices, compare: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run_cmd._comparing(choices, compare)


def test_other_loads_are_refused_before_the_measurement() -> None:
    plan = resolve("paper", run_cmd._comparing(Choices(), "kernel,kernel-io")).plan
    with pytest.raises(UsageError, match=r"\(load\)") as caught:
        run_cmd._check_alike(plan)
    assert "--allow load" in caught.value.hint
    where = resolve("paper", run_cmd._comparing(Choices(), "native,kernel-io")).plan
    with pytest.raises(UsageError, match=r"\(accel\)"):
        run_cmd._check_alike(where)
    alike = run_cmd._comparing(Choices(), "kernel-io,kernel-io-mitigated")
    run_cmd._check_alike(resolve("paper", alike).plan)


def test_an_unknown_scenario_is_named_with_its_flag() -> None:
    with pytest.raises(UsageError, match="--compare kernl") as caught:
        resolve("paper", run_cmd._comparing(Choices(), "kernl,native"))
    assert "'kernel'" in caught.value.hint


# -- results of other tools ----------------------------------------------------------------------

CYCLICTEST = Path(__file__).parents[1] / "golden/cyclictest"


def test_threads_of_other_tools_are_scenarios() -> None:
    file = CYCLICTEST / "2.10-histogram.json"
    status, shown = call(f"{file}:thread-0", f"{file}:thread-1", "--json")
    assert status == 4
    found = json.loads(shown)
    assert found["order"] == "measured at the same time"
    assert "the loads (A, B)" in found["not_told"]
    assert found["conditions"] == ["measured by cyclictest, not by vmjitter"]
    with pytest.raises(UsageError, match="holds several scenarios: thread-0"):
        call(str(file), str(file))


def test_another_length_of_another_tool() -> None:
    sides = [f"{CYCLICTEST / name}:thread-0" for name in ("2.10-histogram.txt", "2.10-verbose.txt")]
    with pytest.raises(UsageError, match=r"500 against 80 \(length\)"):
        call(*sides)
    status, shown = call(*sides, "--allow", "length")
    assert status == 4
    assert "in spite of another condition: activations of a trial: 500 against 80" in shown
