"""The verb `plan`: how long to measure, and what a time can claim."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vmjitter.cli import plan_cmd
from vmjitter.errors import UsageError


def call(*arguments: str) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    plan_cmd.register(app)
    done = CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": "100"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.stdout


def data(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call(*arguments, "--json"))
    return found


def rows(out: str) -> list[list[str]]:
    lines = [line.split() for line in out.splitlines()]
    return [words for words in lines if words and words[0].isdecimal() and len(words) > 2]


def test_how_long_for_one_miss_per_hour() -> None:
    out = call("--max-misses-per-hour", "1", "--period", "1ms")
    assert "To show at most 1 miss per hour with 95 % confidence, measure:" in out
    assert rows(out)[0] == ["0", "3", "h", "10", "784", "637", "0.0351", "/h"]
    assert rows(out)[3][:3] == ["3", "7.76", "h"]  # never rounded down
    assert "Fix length, load and target before you measure" in out


def test_more_confidence_takes_longer() -> None:
    usual, sure = (
        data("--max-misses-per-hour", "1", "--confidence", percent, "--expected-misses", "0")
        for percent in ("95", "99")
    )
    assert len(usual["time_needed"]) == len(sure["time_needed"]) == 1
    assert usual["time_needed"][0]["duration_ns"] == pytest.approx(2.99573 * 3600e9, rel=1e-5)
    assert sure["time_needed"][0]["duration_ns"] == pytest.approx(4.60517 * 3600e9, rel=1e-5)
    assert sure["confidence_percent"] == 99


def test_what_a_time_can_claim() -> None:
    out = call("--duration", "8h", "--max-misses-per-hour", "0.6", "-i", "1000")
    assert "What 8 h can claim with 95 % confidence:" in out
    verdicts = [words[-1] for words in rows(out) if words[-1].isupper()]
    assert verdicts == ["PASS", "PASS", "INCONCLUSIVE", "INCONCLUSIVE"]
    words = " ".join(out.split())
    assert "10 misses or more are a FAIL" in words
    assert "28 800 000 wake-ups support p50, p90, p99, p99.9, p99.99, p99.999, p99.9999." in words


def test_a_time_without_a_target_or_a_period() -> None:
    found = data("--duration", "8h")
    assert [one["misses"] for one in found["shown"]] == [0, 1, 2, 3]
    assert found["shown"][0]["share_upper"] is None
    assert (found["coverage"], found["fails_from_misses"], found["time_needed"]) == (None, None, [])
    assert found["period_ns"] is None


def test_how_many_wake_ups_for_a_quantile() -> None:
    found = data("--quantile", "99.999", "--interval", "250us", "--expected-misses", "1")
    assert [one["wake_ups"] for one in found["quantile"]] == [300_000, 474_385]
    assert found["quantile"][0]["duration_ns"] == 75 * 10**9
    assert found["quantile"][0]["share"] == pytest.approx(0.99999)
    assert "300 000 1.25 min" in " ".join(call("--quantile", "99.999", "-i", "250").split())


def test_the_same_question_has_the_same_answer() -> None:
    arguments = ("--max-misses-per-hour", "0.25", "-D", "12h", "-i", "200", "--quantile", "99.99")
    assert call(*arguments) == call(*arguments)


def test_the_help_tells_it_from_plan_files() -> None:
    words = " ".join(call("--help").split())
    assert "This is not about plan files" in words
    assert "vmjitter run --help" in words


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ([], "nothing to calculate", "--max-misses-per-hour"),
        (["paper"], "calculates how long", "vmjitter run paper"),
        (["--max-misses-per-hour", "0"], "no finite measurement", "leave the number out"),
        (["--max-misses-per-hour", "1", "--confidence", "100"], "makes no sense", "95 or 99"),
        (["--duration", "8"], "not a duration", "unit"),
        (["--duration", "0s"], "nobody measures for 0s", "8h"),
        (["--duration", "9999999d"], "nobody measures", "36500d"),
        (["--duration", "1us", "-i", "1ms"], "shorter than one period", "longer time"),
        (["--duration", "1h", "-i", "0ms"], "longer than nothing", "1ms"),
        (["--quantile", "p99"], "no quantile", "above 50"),
        (["--quantile", "50"], "no quantile", "99.999"),
        (["--quantile", "100"], "no quantile", "below 100"),
        (["--quantile", "99", "--expected-misses", "-1"], "make no sense", "0 to 100"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        call(*arguments)
    assert hint in caught.value.hint
