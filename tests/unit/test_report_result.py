"""The verdict of a run and its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fakes.runmaker import (
    TrialMaker,
    latencies,
    make_knob,
    make_load,
    make_run,
    make_status,
)
from vmjitter.model.run import TrialState
from vmjitter.report.json_out import to_data, to_json
from vmjitter.report.result import TCG_NOTE, RunResult, judge, paper_text
from vmjitter.store.reader import read_run

LATENCY = latencies(1000, seed=5, worst_ns=900_000)
GOOD = TrialMaker(status=make_status("good"), latency_ns=LATENCY)
INVALID = TrialMaker(
    status=make_status("invalid", invalid=("load shm (guest) stopped",)), latency_ns=LATENCY
)
KILLED = TrialMaker(
    status=make_status("killed", state=TrialState.RUNNING, loads=()),
    latency_ns=LATENCY,
    cut_bytes=100,
)
FAILED = TrialMaker(
    status=make_status("failed", state=TrialState.FAILED, error="the guest panicked"), begun=False
)
SILENT = TrialMaker(status=make_status("silent", loops=0))

SOON, LATE = 100_000, 10_000_000


def result(path: Path, *trials: TrialMaker, **changes: object) -> RunResult:
    return judge(read_run(make_run(path / "run", list(trials), **changes)))


@pytest.mark.parametrize(
    ("trials", "deadline_ns", "status"),
    [
        ([GOOD], None, 0),
        ([GOOD], LATE, 0),
        ([GOOD], SOON, 3),
        ([INVALID], None, 4),
        ([INVALID], SOON, 4),
        ([KILLED], SOON, 4),
        ([FAILED], LATE, 4),
        ([SILENT], LATE, 4),
        ([GOOD, INVALID], LATE, 4),
        ([GOOD, KILLED], SOON, 3),
        ([], None, 4),
    ],
)
def test_exit_status(
    tmp_path: Path, trials: list[TrialMaker], deadline_ns: int | None, status: int
) -> None:
    assert result(tmp_path, *trials, deadline_ns=deadline_ns).exit_status == status


def test_a_scenario_that_was_not_measured_is_no_success(tmp_path: Path) -> None:
    judged = result(tmp_path, GOOD, scenarios=("good", "later"))
    assert judged.not_measured == ("later",)
    assert judged.exit_status == 4


def test_an_overrun_misses_every_deadline(tmp_path: Path) -> None:
    latency = latencies(1000, seed=5, worst_ns=2_500_000)
    trial = TrialMaker(status=make_status(), latency_ns=latency)
    (judged,) = result(tmp_path, trial, deadline_ns=LATE).trials
    assert judged.summary.misses == judged.summary.overruns == 2


def test_reasons(tmp_path: Path) -> None:
    judged = result(tmp_path, GOOD, INVALID, KILLED, FAILED, SILENT)
    reasons = {trial.scenario: trial.reasons for trial in judged.trials}
    assert reasons == {
        "good": (),
        "invalid": ("load shm (guest) stopped",),
        "killed": (),
        "failed": ("the trial failed: the guest panicked",),
        "silent": ("no wake-up was recorded",),
    }
    assert [trial.valid for trial in judged.trials] == [True, False, False, False, False]
    killed = judged.trial("killed")
    assert killed is not None
    assert killed.incomplete_text == "incomplete: 993 of 1000"
    assert judged.trial("none") is None


def test_an_unreadable_trial_is_invalid(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", [GOOD])
    (path / "trials" / "01-good" / "status.json").write_text("?")
    judged = judge(read_run(path))
    assert "cannot be read" in judged.trials[0].reasons[-1]
    assert judged.exit_status == 4


def test_tcg_is_always_said(tmp_path: Path) -> None:
    silent = TrialMaker(status=make_status("a", conditions=("warm",)), latency_ns=LATENCY)
    kvm = TrialMaker(status=make_status("b", conditions=(), accel="kvm"), latency_ns=LATENCY)
    judged = result(tmp_path, silent, GOOD, kvm)
    assert judged.trials[0].conditions == (TCG_NOTE, "warm")
    assert judged.trials[1].conditions == make_status().conditions
    assert judged.trials[2].conditions == ()


def test_ratio_and_text_of_the_paper(tmp_path: Path) -> None:
    other = TrialMaker(status=make_status("other", paper_max_ns=None), latency_ns=LATENCY)
    judged = result(tmp_path, GOOD, other)
    assert judged.trials[0].ratio == pytest.approx(900_000 / 100_550_000)
    assert judged.trials[1].ratio is None
    assert paper_text(100_550_000) == "100.55 ms"


def test_json_is_the_contract(tmp_path: Path) -> None:
    status = make_status(loads=(make_load("udp", side="host", ops=1, seconds=3),))
    status = make_status("a", loads=status.loads, knobs=(make_knob(),))
    judged = result(
        tmp_path, TrialMaker(status=status, latency_ns=LATENCY), SILENT, deadline_ns=LATE
    )
    data = json.loads(to_json(judged))
    assert data == to_data(judged)
    assert (data["format"], data["plan"], data["deadline_ns"]) == (1, "paper", LATE)
    first, silent = data["trials"]
    worst = {key: first[key] for key in ("scenario", "valid", "count", "max_ns", "misses")}
    assert worst == {
        "scenario": "a",
        "valid": True,
        "count": 1000,
        "max_ns": int(np.max(LATENCY)),
        "misses": 0,
    }
    assert first["loads"][0]["rate"] == 0.333
    assert first["knobs"][0]["in_force"] is True
    assert first["clock"]["offset_before"]["bound_ns"] == 40
    assert first["p99_ns"] is not None
    assert first["p999_ns"] is None
    assert (silent["min_ns"], silent["max_ns"], silent["count"]) == (None, None, 0)


def test_json_is_documented() -> None:
    """Every key stands in docs/reference/json.md."""
    text = (Path(__file__).parents[2] / "docs/reference/json.md").read_text()
    run, trial, load = _keys()
    assert [key for key in (*run, *trial, *load) if f"`{key}`" not in text] == []


def _keys() -> tuple[list[str], list[str], list[str]]:
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    with TemporaryDirectory() as directory:
        data = json.loads(to_json(result(Path(directory), GOOD)))
    trial = data["trials"][0]
    return list(data), list(trial), [*trial["loads"][0], *trial["clock"]]
