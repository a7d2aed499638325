"""An ablation in the table, in JSON and as a figure."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.config.ablation import combinations
from vmjitter.config.resolve import Choices, resolve
from vmjitter.errors import UsageError
from vmjitter.model.plan import Disk, Network
from vmjitter.report.ablation import ablation
from vmjitter.report.ablation_figure import draw_ablation
from vmjitter.report.html.page import render_page
from vmjitter.report.json_out import to_data
from vmjitter.report.result import RunResult, judge
from vmjitter.report.table import print_report
from vmjitter.store.reader import read_run

NAMES = ("virtio", "vhost", "priority")
FACTOR = {"virtio": 0.2, "vhost": 1.0, "priority": 0.5}


@pytest.fixture
def result(tmp_path: Path) -> RunResult:
    trials = []
    for number in (1, 2, 3):
        for name, chosen in combinations(NAMES).items():
            worst = 100_000_000 * (1 + 0.01 * number)
            for one in chosen:
                worst *= FACTOR[one]
            status = make_status(name, round=number, mitigations=chosen, loops=4000)
            samples = latencies(4000, seed=number, worst_ns=int(worst))
            trials.append(TrialMaker(status=status, latency_ns=samples))
    bad = make_status("all", round=4, mitigations=NAMES, invalid=("clocksource changed",))
    trials.append(TrialMaker(status=bad, latency_ns=latencies(1000, seed=9, worst_ns=10**9)))
    return judge(read_run(make_run(tmp_path / "run", trials)))


def test_contributions_are_found_and_invalid_trials_left_out(result: RunResult) -> None:
    found = ablation(result)
    assert found is not None
    assert found.names == NAMES
    for effect in found.worst.effects:
        assert effect.average.estimate == pytest.approx(FACTOR[effect.mitigation], rel=0.05)
        assert effect.average.rounds == 3
    assert found.left_out == ("all #4",)
    assert {cell.scenario: cell.trials for cell in found.cells} == dict.fromkeys(
        combinations(NAMES), 3
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_says_it(result: RunResult, width: int) -> None:
    out = io.StringIO()
    print_report(Console(file=out, width=width), result, details=False)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for part in (
        "What each mitigation brings",
        "none of them",
        "virtio, vhost, priority",
        "0.2 (",
        "virtio and vhost interact",
        "Left out, because not valid: all #4.",
    ):
        assert part in " ".join(text.split()) or width == 80, part
    assert "0.2 (" in text


def test_json_holds_it_and_other_runs_hold_none(result: RunResult, tmp_path: Path) -> None:
    data = json.loads(json.dumps(to_data(result)))
    assert [one["mitigation"] for one in data["ablation"]["worst"]["effects"]] == list(NAMES)
    assert data["trials"][1]["mitigations"] == ["virtio"]
    plain = TrialMaker(status=make_status(), latency_ns=latencies(100, seed=1, worst_ns=10**6))
    other = judge(read_run(make_run(tmp_path / "other", [plain])))
    assert to_data(other)["ablation"] is None


def test_the_figure_is_the_same_every_time(result: RunResult, tmp_path: Path) -> None:
    found = ablation(result)
    assert found is not None
    first = [path.read_bytes() for path in draw_ablation(found, result, tmp_path / "one")]
    second = [path.read_bytes() for path in draw_ablation(found, result, tmp_path / "two")]
    assert first == second
    assert len(first) == 2


def test_the_plan_has_every_combination_with_its_devices() -> None:
    plan = resolve("paper-ablation", Choices()).plan
    cells = {scenario.name: scenario for scenario in plan.scenarios}
    assert list(cells) == list(combinations(NAMES))
    assert (cells["none"].disk, cells["none"].network) == (Disk.IDE, Network.E1000)
    assert (cells["all"].disk, cells["all"].network) == (Disk.VIRTIO, Network.VIRTIO)
    assert cells["all"].vhost
    assert cells["only-vhost"].disk is Disk.IDE
    assert cells["without-priority"].mitigations == ("virtio", "vhost")
    assert len({scenario.mitigations for scenario in plan.scenarios}) == 8


def test_the_page_has_a_section_for_it(result: RunResult) -> None:
    page = render_page(result)
    assert 'id="ablation"' in page
    assert "Contributions to the worst latency" in page
    assert "virtio and priority interact: " in page, "the picture has words, too"
    assert "Left out, because not valid: all #4." in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "nowhere"', "no scenario of this plan"),
        ('base = "one"', "a table of 1 to 8 mitigations"),
        ('base = "one"\nbasis = 1', "no key 'basis'"),
        ('base = "one"\nmitigations = {a = "virtio-disk"}', "must be a list of knobs"),
        ('base = "one"\nmitigations = {a = ["virtio-disc"]}', "no knob 'virtio-disc'"),
        ('base = "one"\nmitigations = {"a b" = []}', "is no name"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(f"[ablation]\n{text}\n[scenario.one]\n")
    with pytest.raises(UsageError, match=message):
        resolve(str(file), Choices())


def test_two_mitigations_have_four_combinations_and_one_has_two() -> None:
    assert list(combinations(("a", "b"))) == ["none", "only-a", "only-b", "all"]
    assert list(combinations(("a",))) == ["none", "all"]
    assert len(combinations(tuple("abcdef"))) == 14
