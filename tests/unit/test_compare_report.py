"""A comparison in words, in the terminal, as JSON and as a figure."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from fakes.pairmaker import group, paired_run, turns
from fakes.runmaker import TrialMaker, latencies
from vmjitter.errors import DataError, UsageError
from vmjitter.model.judge import Target
from vmjitter.report.comparable import Compared, compare_groups
from vmjitter.report.compare_figure import draw_comparison
from vmjitter.report.compare_json import to_data, to_json
from vmjitter.report.compare_text import print_comparison, sentence
from vmjitter.stats.comparison import Metric

PLAIN = Target(deadline_ns=None)
DEADLINE = Target(deadline_ns=1_000_000)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paired_run(tmp_path_factory.mktemp("pair") / "run")


def compared(path: Path, target: Target = PLAIN, *, sides: str = "ab") -> Compared:
    return compare_groups(group(path, sides[0], target), group(path, sides[1], target), target)


def text(found: Compared, *, width: int = 80, details: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_comparison(console, found, details=details)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def flowing(shown: str) -> str:
    return " ".join(shown.split())


# -- in words ------------------------------------------------------------------------------------


def test_better_in_a_sentence(run: Path) -> None:
    assert sentence(compared(run)) == (
        "BETTER: with b, the worst latency of a trial is 12.8 times (12.7 to 12.8) shorter than "
        "with a: 703.50 µs instead of 9.00 ms (medians of 4 and 4 trials), at 95 % confidence."
    )


def test_worse_in_a_sentence(run: Path) -> None:
    shown = sentence(compared(run, sides="ba"))
    assert shown.startswith("WORSE: with a, the worst latency of a trial is 12.8 times")
    assert "longer than with b: 9.00 ms instead of 703.50 µs" in shown


def test_no_difference_is_no_proof_of_equality(tmp_path: Path) -> None:
    order = [("b", place) for place in range(1, 9)]
    trials = turns(order, wake_ups=1000)
    halves = [
        dataclasses.replace(one, status=dataclasses.replace(one.status, scenario="a"))
        if place % 2
        else one
        for place, one in enumerate(trials)
    ]
    found = compared(paired_run(tmp_path / "same", halves))
    assert found.exit_status == 0
    shown = sentence(found)
    assert shown.startswith("NO DIFFERENCE SHOWN: 4 + 4 trials do not show that b differs from a")
    assert "no proof that they are equal: the worst latency may have changed by -" in shown


def test_too_few_in_a_sentence(tmp_path: Path) -> None:
    path = paired_run(tmp_path / "run", turns((("a", 1), ("b", 1)), wake_ups=1000))
    found = compared(path)
    assert found.exit_status == 4
    assert "INCONCLUSIVE: 1 + 1 trials cannot show a difference, however large" in sentence(found)
    assert "--rounds 4." in sentence(found)
    strict = compared(path, Target(deadline_ns=None, confidence_percent=99.0))
    assert "5 + 5 can" in sentence(strict)
    shown = flowing(text(found))
    assert "none" in shown
    assert "even for the worst trial" not in shown


def test_better_here_and_worse_there(tmp_path: Path) -> None:
    """The figure named beforehand is better; that another is worse decides, and both are told."""
    trials = []
    for one in turns():
        latency = one.latency_ns.copy()
        if one.status.scenario == "b":
            latency[:3000] += 100_000
        trials.append(dataclasses.replace(one, latency_ns=latency))
    found = compared(paired_run(tmp_path / "run", trials))
    shown = sentence(found)
    assert found.exit_status == 3
    assert shown.startswith("WORSE: with b, p99.9 of a trial is ")
    assert "Worse, too: p99." in shown
    assert "But better: the worst latency." in shown
    assert "The curves cross between" in flowing(text(found))


def test_a_number_of_misses_that_was_zero_has_no_factor(run: Path) -> None:
    found = compare_groups(
        group(run, "b", DEADLINE), group(run, "a", DEADLINE), DEADLINE, primary=Metric.MISSES
    )
    assert "the number of misses per hour of a trial is 9000 larger" in sentence(found)


# -- in the terminal -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_off(run: Path, width: int) -> None:
    shown = text(compared(run, DEADLINE), width=width)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for words in ("p99.9", "misses/h", "episodes/h", "-8.31 to -8.29 ms", "0.0286", "better"):
        assert words in shown


def test_what_is_needed_to_trust_it(run: Path) -> None:
    shown = flowing(text(compared(run, DEADLINE)))
    for words in (
        "two-sided, exact over all ways to deal the trials",
        "max was to decide first",
        "No p99.99: 8 trials with fewer than 30000 wake-ups",
        "TCG: times are not those of a KVM host.",
        "ABBA",
        "disk: ide against virtio",
        "A a #1",
        "B b #4",
        "Missed activations, which have no latency and are in no quantile: A 36 of 16000",
        "even for the worst trial of b beside the best of a",
        "Miss episodes in all: 4 in 0.00444 h (A), 0 in 0.00444 h (B)",
    ):
        assert words in shown, shown
    assert "A a #1" not in text(compared(run), details=False)


def test_what_was_left_out_and_allowed(tmp_path: Path) -> None:
    trials = turns()
    broken = dataclasses.replace(trials[0].status, invalid=("the load shm stopped",))
    trials[0] = dataclasses.replace(trials[0], status=broken)
    cut = turns((("b", 5),))[0]
    trials.append(TrialMaker(status=cut.status, latency_ns=latencies(77, seed=1, worst_ns=9999)))
    path = paired_run(tmp_path / "run", trials)
    other = paired_run(tmp_path / "other", turns(accel="kvm", guest_facts={}))
    found = compare_groups(group(path, "a"), group(other, "b"), PLAIN, allow=["accel"])
    shown = flowing(text(found))
    assert "left out: a #1: the load shm stopped" in shown
    assert "in spite of another condition: the accelerator: tcg against kvm." in shown
    assert "Not told, so taken to be the same: the kernel under the probe (B)." in shown
    own = flowing(text(compared(path)))
    assert "left out: b #5: incomplete: 77 of 4000" in own
    data = to_data(compared(path))
    (left,) = data["after"]["left_out"]  # type: ignore[index]
    assert left["reasons"] == ["incomplete: 77 of 4000"]


# -- as JSON -------------------------------------------------------------------------------------


def test_json_says_all_that_the_terminal_says(run: Path) -> None:
    found = compared(run, DEADLINE)
    data = json.loads(to_json(found))
    assert data["format"] == 1
    assert data["verdict"] == "better"
    assert data["sentence"] == sentence(found)
    assert data["exit_status"] == 0
    assert (data["blocks"], data["primary"]) == (1, "max")
    assert data["smallest_p"] == pytest.approx(2 / 70)
    rows = {row["figure"]: row for row in data["figures"]}
    assert list(rows) == [metric.value for metric in Metric]
    assert rows["max"]["adjusted_p_value"] == pytest.approx(2 / 70)
    assert rows["max"]["unit"] == "ns"
    assert rows["max"]["before"] == [9_000_000, 9_003_000, 9_004_000, 9_007_000]
    assert rows["max"]["change"] == "better"
    assert not rows["p50"]["tested"]
    assert "fewer than 30000" in rows["p99.99"]["lacking"]
    curves = data["curves"]
    assert (
        len(curves["latency_ns"]) == len(curves["before"]["share"]) == len(curves["after"]["low"])
    )
    assert data["counts"]["before"] == 4
    assert [each["name"] for each in data["compared"]] == ["disk", "vhost", "knobs"]
    assert [trial["round"] for trial in data["before"]["trials"]] == [1, 2, 3, 4]


def test_the_same_runs_give_the_same_bytes(run: Path) -> None:
    assert to_json(compared(run)) == to_json(compared(run))


# -- as a figure ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_a_figure_is_the_same_each_time(run: Path, tmp_path: Path, kind: str) -> None:
    files = [tmp_path / f"{number}.{kind}" for number in range(2)]
    for file in files:
        draw_comparison(compared(run, DEADLINE), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size > 5000
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"0.{kind}", f"1.{kind}"]


def test_a_figure_of_two_trials_and_early_wake_ups(tmp_path: Path) -> None:
    trials = turns((("a", 1), ("b", 1)), wake_ups=1000)
    early = trials[0].latency_ns.copy()
    early[5] = -20_000
    trials[0] = dataclasses.replace(trials[0], latency_ns=early)
    draw_comparison(compared(paired_run(tmp_path / "run", trials)), tmp_path / "x.svg")
    assert (tmp_path / "x.svg").stat().st_size > 5000


def test_what_cannot_be_drawn(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be of the kind '\.gif'") as caught:
        draw_comparison(compared(run), tmp_path / "x.gif")
    assert ".svg" in caught.value.hint
    with pytest.raises(DataError, match="cannot write"):
        draw_comparison(compared(run), tmp_path / "none" / "x.svg")
    empty = paired_run(tmp_path / "empty", [])
    with pytest.raises(UsageError, match="nothing to draw"):
        draw_comparison(compared(empty), tmp_path / "x.svg")
