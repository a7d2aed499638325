"""What a result is held against: from plan, flags and options to a target that can be met."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.cli.target import NO_TARGET, retarget
from vmjitter.config.parse import number, optional_number
from vmjitter.config.resolve import Choices, resolve
from vmjitter.config.sources import Value
from vmjitter.errors import UsageError
from vmjitter.model.judge import Target, checked
from vmjitter.report.result import target_of
from vmjitter.store.reader import read_run
from vmjitter.units import NS_PER_S, format_span

TRIAL = TrialMaker(status=make_status(), latency_ns=latencies(1000, seed=1, worst_ns=900_000))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target(deadline_ns=0), "longer than nothing"),
        (Target(deadline_ns=1, max_misses_per_hour=0.0), "no finite measurement"),
        (Target(deadline_ns=1, max_misses_per_hour=-2.0), "at most -2 misses"),
        (Target(deadline_ns=None, max_misses_per_hour=1.0), "needs a deadline"),
        (Target(deadline_ns=1, confidence_percent=100.0), "confidence of 100 %"),
        (Target(deadline_ns=1, confidence_percent=0.95), "confidence of 0.95 %"),
    ],
)
def test_what_no_measurement_can_meet_is_refused(target: Target, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        checked(target)
    assert caught.value.hint


def test_a_plan_fixes_the_target() -> None:
    flags = {
        "judge.deadline": Value("5ms", "--deadline"),
        "judge.max_misses_per_hour": Value("0.5", "--max-misses-per-hour"),
        "judge.confidence": Value(99, "--confidence"),
    }
    plan = resolve("paper", Choices(flags=flags)).plan
    assert plan.target == Target(
        deadline_ns=5_000_000, max_misses_per_hour=0.5, confidence_percent=99.0
    )
    assert resolve("paper", Choices()).plan.target == NO_TARGET


def test_options_change_only_what_they_name() -> None:
    before = Target(deadline_ns=7, max_misses_per_hour=2.0, confidence_percent=90.0)
    assert retarget(before, None, None, None) == before
    after = retarget(before, "1ms", None, 99.0)
    assert after == Target(deadline_ns=1_000_000, max_misses_per_hour=2.0, confidence_percent=99.0)


def test_a_target_after_the_measurement_is_said(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", [TRIAL], deadline_ns=1_000_000)
    same = read_run(path, Target(deadline_ns=1_000_000))
    assert same.notes == ()
    other = read_run(path, Target(deadline_ns=500_000, confidence_percent=99.0))
    assert "after the measurement" in other.notes[0]
    assert target_of(other).deadline_ns == 500_000
    assert len(other.trials[0].digest.miss_index) == 1


@pytest.mark.parametrize(("value", "found"), [(1, 1.0), ("0.5", 0.5), (2.5, 2.5), ("", None)])
def test_numbers(value: object, found: float | None) -> None:
    assert optional_number(value) == found


@pytest.mark.parametrize("value", ["x", "nan", "inf", True, [], None])
def test_no_numbers(value: object) -> None:
    with pytest.raises(UsageError, match="is not a number"):
        number(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "500.00 ms"),
        (59, "59 s"),
        (90, "1.5 min"),
        (3600, "1 h"),
        (86_400, "24 h"),
        (365 * 86_400, "365 d"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert format_span(int(seconds * NS_PER_S)) == text
