"""From other tools' formats into others: recorded files of the real programs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from fakes.exportmaker import export
from vmjitter.report.exporters import EXPORTERS
from vmjitter.report.importers.as_run import open_results
from vmjitter.report.result import RunResult, judge

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = [
    "rtla/hist-6.12-user.txt",
    "rtla/top-6.1.txt",
    "jitterdebugger/0.3-stopped-results.json",
    "jitterdebugger/0.3-samples.raw",
    "rteval/cyclictest.xml",
    "xenomai/latency-histogram.txt",
]


@pytest.fixture(params=FILES)
def result(request: pytest.FixtureRequest) -> RunResult:
    return judge(open_results(GOLDEN / request.param, None))


def totals(result: RunResult) -> list[int]:
    """Wake-ups of each trial, as the importer counted them."""
    return [trial.summary.count for trial in result.trials]


def test_no_wake_up_is_lost_in_json(result: RunResult) -> None:
    threads = json.loads(export("cyclictest-json", result))["thread"].values()
    assert [thread["cycles"] for thread in threads] == totals(result)
    for thread, trial in zip(threads, result.trials, strict=True):
        beyond = thread["cycles"] - sum(thread["histogram"].values())
        assert beyond == trial.trial.digest.histogram.overflow
        assert thread["vmjitter"]["lacks"] == sorted(lack.value for lack in trial.trial.lacks)


def test_no_wake_up_is_lost_in_text(result: RunResult) -> None:
    lines = export("cyclictest-histogram", result).splitlines()
    rows = [line.split() for line in lines if line[0] != "#"]
    inside = [sum(map(int, column)) for column in list(zip(*rows, strict=True))[1:]]
    beyond = next(line for line in lines if line.startswith("# Histogram Overflows: "))
    over = map(int, beyond.split(": ")[1].split())
    wanted = [count for count in totals(result) if count]
    assert [one + other for one, other in zip(inside, over, strict=True)] == wanted


def test_no_wake_up_is_lost_in_rows(result: RunResult) -> None:
    lines = [line for line in export("csv", result).splitlines() if line[0] != "#"]
    found: dict[str, int] = {}
    for row in csv.DictReader(lines):
        counted = int(row["count"]) if "count" in row else int(row["missed"] == "false")
        found[row["scenario"]] = found.get(row["scenario"], 0) + counted
    wanted = {trial.scenario: trial.summary.count for trial in result.trials}
    assert found == {name: count for name, count in wanted.items() if count}


@pytest.mark.parametrize("name", [name for name, each in EXPORTERS.items() if not each.binary])
def test_every_format_says_who_measured(result: RunResult, name: str) -> None:
    text = export(name, result)
    tool = result.run.info.host["tool"]
    assert f"measured by {tool}, not by vmjitter" in text.replace("\\", "")
    lacks = {lack.value for trial in result.trials for lack in trial.trial.lacks}
    assert [lack for lack in lacks if lack not in text] == []
