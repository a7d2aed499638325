"""Another tool's result as a run that everything else can read."""

from __future__ import annotations

import dataclasses
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vmjitter.errors import DataError, UsageError
from vmjitter.model.judge import Lack, Target
from vmjitter.model.run import TrialState
from vmjitter.report.importers.as_run import Reading, as_run, open_results, store_run
from vmjitter.report.importers.base import Imported, Series
from vmjitter.report.json_out import to_json
from vmjitter.report.result import judge
from vmjitter.stats.histogram import MISSED, binned
from vmjitter.stats.verdict import Outcome
from vmjitter.store.reader import Run
from vmjitter.store.seal import verify_checksums

GOLDEN = Path(__file__).parents[1] / "golden" / "cyclictest"
HISTOGRAM = GOLDEN / "2.4-histogram.txt"
VERBOSE = GOLDEN / "2.10-verbose.txt"
JSON = GOLDEN / "2.10-stopped.json"
NO_TARGET = Target(deadline_ns=None)
PATH = Path("some/file.txt")


def series(**changes: object) -> Series:
    whole = Series(
        name="thread-0",
        title="thread 0",
        period_ns=1_000_000,
        histogram=binned([(2_000, 2_999, 90)], overflow=10, overflow_from_ns=5_000, max_ns=9_000),
        facts={"cpu": "3"},
        lacks=frozenset({Lack.ORDER, Lack.OVERRUNS}),
        notes=("a note",),
    )
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def imported(*parts: Series) -> Imported:
    return Imported(
        tool="cyclictest",
        series=parts or (series(),),
        command="cyclictest -q",
        created_utc="2026-01-31T14:25:30Z",
        facts={"kernel": "6.12"},
        notes=("of the file",),
    )


def test_a_series_becomes_a_trial() -> None:
    run = as_run(PATH, imported(), NO_TARGET)
    (trial,) = run.trials
    assert (run.path, run.info.bench, run.info.scenarios) == (PATH, "import", ("thread-0",))
    assert run.info.host == {"kernel": "6.12", "tool": "cyclictest", "command": "cyclictest -q"}
    assert run.notes == ("of the file",)
    assert trial.status.state is TrialState.DONE
    assert trial.status.conditions == ("measured by cyclictest, not by vmjitter",)
    assert trial.status.guest_facts == {"cpu": "3"}
    assert trial.lacks == {Lack.ORDER, Lack.OVERRUNS}
    assert trial.notes == ("a note",)
    assert (trial.recorded, trial.loops, trial.incomplete) == (100, 100, False)
    assert trial.digest.histogram.overflow == 10
    assert not trial.digest.ordered
    assert len(trial.latency_ns) == 0


def test_values_in_their_order() -> None:
    latency_ns = np.array([2_000, MISSED, 7_000, 3_000], np.int64)
    coarse = binned([(2_000, 2_999, 1), (3_000, 3_999, 1), (7_000, 7_999, 1)], max_ns=7_000)
    part = series(latency_ns=latency_ns, histogram=coarse, lacks=frozenset())
    (trial,) = as_run(PATH, imported(part), Target(deadline_ns=5_000)).trials
    assert trial.digest.ordered
    assert trial.digest.missed_index.tolist() == [1]
    assert trial.digest.miss_index.tolist() == [1, 2]
    assert trial.digest.histogram.resolution_ns == 1_000  # that of the tool, not of the array
    assert trial.recorded == 4
    assert trial.status.overruns == 1
    assert np.array_equal(trial.latency_ns, latency_ns)


def test_counted_overruns_without_a_place() -> None:
    (trial,) = as_run(PATH, imported(series(overruns=7)), NO_TARGET).trials
    assert trial.digest.activations == 107
    assert trial.status.overruns == trial.digest.overruns == 7


def test_the_source_cannot_tell_missed_activations() -> None:
    run = as_run(PATH, imported(), Target(deadline_ns=1_000_000))
    result = judge(run)
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "missed activations" in result.trials[0].verdict.sentence
    late = judge(as_run(PATH, imported(), Target(deadline_ns=4_000)))
    assert late.outcome is Outcome.FAIL


def test_a_target_was_set_afterwards() -> None:
    assert as_run(PATH, imported(), None).notes == ("of the file",)
    run = as_run(PATH, imported(), Target(deadline_ns=5, confidence_percent=99.0))
    assert run.info.confidence_percent == 99.0
    assert "were set after the measurement" in run.notes[-1]


def test_a_period_that_the_file_does_not_tell() -> None:
    parts = (series(), series(name="other", period_ns=0, lacks=frozenset({Lack.PERIOD})))
    known, given = as_run(PATH, imported(*parts), NO_TARGET, period_ns=200_000).trials
    assert (known.period_ns, given.period_ns) == (1_000_000, 200_000)
    assert given.lacks == frozenset()
    assert given.digest.period_ns == 200_000
    assert "was given on import" in given.notes[-1]
    with pytest.raises(UsageError, match=r"tells its period: 1\.00 ms") as caught:
        as_run(PATH, imported(), NO_TARGET, period_ns=200_000)
    assert "--period" in caught.value.hint


def text_of(run: Run) -> str:
    return to_json(judge(run))


@pytest.mark.parametrize("file", [HISTOGRAM, VERBOSE, JSON])
def test_the_same_file_gives_the_same_result(file: Path) -> None:
    target = Target(deadline_ns=50_000)
    assert text_of(open_results(file, target)) == text_of(open_results(file, target))


def test_storing_keeps_the_file_and_the_result(tmp_path: Path) -> None:
    target = Target(deadline_ns=50_000, max_misses_per_hour=2.0)
    reading = Reading(format="cyclictest-histogram", period_ns=1_000_000)
    stored = store_run(tmp_path / "run", HISTOGRAM, reading, target)
    again = open_results(tmp_path / "run", None)
    assert (tmp_path / "run/source/2.4-histogram.txt").read_bytes() == HISTOGRAM.read_bytes()
    assert verify_checksums(tmp_path / "run") == []
    assert text_of(stored) == text_of(again)
    assert again.info.deadline_ns == 50_000
    direct = as_run_of(HISTOGRAM, target, 1_000_000)
    for one, other in zip(again.trials, direct.trials, strict=True):
        assert one.digest.histogram.total == other.digest.histogram.total
        assert (one.status, one.notes, one.lacks) == (other.status, other.notes, other.lacks)
    changed = open_results(tmp_path / "run", Target(deadline_ns=70_000))
    assert changed.info.deadline_ns == 70_000
    assert any("were set after the measurement" in note for note in changed.notes)


def as_run_of(file: Path, target: Target, period_ns: int) -> Run:
    return open_results(file, target, period_ns=period_ns)


def test_a_recognised_format_is_recognised_again(tmp_path: Path) -> None:
    store_run(tmp_path / "run", VERBOSE, Reading(), NO_TARGET)
    assert "format" not in (tmp_path / "run/plan.toml").read_text()
    run = open_results(tmp_path / "run", None)
    assert run.trials[0].digest.ordered
    assert "deadline" not in " ".join(run.notes)


def test_a_name_that_needs_quoting(tmp_path: Path) -> None:
    file = tmp_path / 'a"b\\c é.txt'
    file.write_bytes(HISTOGRAM.read_bytes())
    store_run(tmp_path / "run", file, Reading(), NO_TARGET)
    assert open_results(tmp_path / "run", None).trials[0].recorded == 500


def test_a_pipe_is_read_but_not_kept(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(pipe.write_bytes, HISTOGRAM.read_bytes())
        assert open_results(pipe, None).trials[0].recorded == 500
        writing.result()
    with pytest.raises(UsageError, match="cannot be kept"):
        store_run(tmp_path / "run", pipe, Reading(), NO_TARGET)


def test_nothing_is_overwritten_and_nothing_half_made(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/file").write_text("mine")
    with pytest.raises(UsageError, match="not an empty directory"):
        store_run(tmp_path / "run", HISTOGRAM, Reading(), NO_TARGET)
    with pytest.raises(DataError):
        store_run(tmp_path / "new", GOLDEN / "README.md", Reading(), NO_TARGET)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "plan",
    [
        "",
        "x",
        "import = 5",
        '[import]\nfile = "../../x"\nperiod_ns = 0',
        "[import]\nfile = 5\nperiod_ns = 0",
    ],
)
def test_a_stored_import_that_was_changed(tmp_path: Path, plan: str) -> None:
    store_run(tmp_path / "run", HISTOGRAM, Reading(), NO_TARGET)
    (tmp_path / "run/plan.toml").write_text(plan)
    with pytest.raises(DataError, match="does not say what was imported") as caught:
        open_results(tmp_path / "run", None)
    assert "source" in caught.value.hint


def test_a_directory_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a run directory"):
        open_results(tmp_path, None)
    with pytest.raises(DataError, match="is not a run directory"):
        open_results(tmp_path / "none", None)
    with pytest.raises(UsageError, match="no file of another tool"):
        open_results(tmp_path, None, "oslat")


def test_a_full_disk_leaves_no_half_a_run(tmp_path: Path) -> None:
    """A limit on the size of files is met like the end of a disk: in the middle of writing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HISTOGRAM.stat().st_size - 1, hard))
    try:
        with pytest.raises(DataError, match=HISTOGRAM.name):
            store_run(tmp_path / "run", HISTOGRAM, Reading(), NO_TARGET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
