"""The reader: whatever is broken is named, and hides nothing else."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.runmaker import (
    PERIOD_NS,
    T0_NS,
    TSC_HZ,
    TrialMaker,
    header_bytes,
    latencies,
    make_load,
    make_run,
    make_status,
    record_bytes,
)
from vmjitter.errors import DataError
from vmjitter.guest.layout import MISSED
from vmjitter.model.run import TrialState
from vmjitter.store.reader import read_run
from vmjitter.store.samples import read_raw_samples
from vmjitter.store.seal import seal_run

COUNT = 1000


def two_trials(path: Path) -> Path:
    good = TrialMaker(status=make_status("good"), latency_ns=sample())
    other = TrialMaker(status=make_status("other"), latency_ns=sample())
    return make_run(path / "run", [good, other])


def sample() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return latencies(COUNT, seed=7, worst_ns=5_000_000)


@pytest.mark.parametrize("sealed", [False, True])
def test_reads_what_was_written(tmp_path: Path, sealed: bool) -> None:  # noqa: FBT001
    path = two_trials(tmp_path)
    if sealed:
        seal_run(path)
    run = read_run(path)
    trial = run.trial("good")
    assert trial is not None
    assert run.info.host["cpu"] == "Testcore 9000"
    assert run.plan_toml.startswith("name")
    assert trial.status == make_status("good")
    assert np.array_equal(trial.latency_ns, sample())
    assert np.count_nonzero(trial.latency_ns == MISSED) == 5
    assert np.array_equal(trial.tsc == 0, trial.latency_ns == MISSED)
    samples = trial.samples
    assert (samples.period_ns, samples.t0_ns, samples.tsc_hz) == (PERIOD_NS, T0_NS, TSC_HZ)
    assert samples.clock == "CLOCK_MONOTONIC"
    assert (trial.recorded, trial.loops, trial.incomplete, trial.notes) == (COUNT, COUNT, False, ())
    assert [(load.name, load.side) for load in trial.loads] == [
        ("shm", "guest"),
        ("udp", "guest"),
        ("udp", "host"),
    ]
    assert trial.loads[0].ops.tolist() == [998, 999, 1000, 1001, 1002]
    assert trial.loads[0].second_ns[1] == T0_NS + 1_000_000_000
    assert (run.not_measured, run.notes, run.trial("none")) == ((), (), None)


def test_a_run_that_says_running_is_interrupted(tmp_path: Path) -> None:
    status = make_status(state=TrialState.RUNNING)
    trial = TrialMaker(status=status, latency_ns=sample()[:400], cut_bytes=3)
    path = make_run(
        tmp_path / "run", [trial], state=TrialState.RUNNING, scenarios=("kernel-io", "later")
    )
    run = read_run(path)
    assert run.info.state is TrialState.INTERRUPTED
    assert run.trials[0].status.state is TrialState.INTERRUPTED
    assert run.trials[0].incomplete
    assert (run.trials[0].recorded, run.trials[0].loops) == (399, COUNT)
    assert "within a record" in run.trials[0].notes[0]
    assert run.not_measured == ("later",)


def test_fewer_records_than_planned_are_incomplete(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", [TrialMaker(status=make_status(), latency_ns=sample()[1:])])
    assert read_run(path).trials[0].incomplete


WHOLE = header_bytes(loops=4) + record_bytes(np.array([1, -2, MISSED, 4]))


@settings(deadline=None)
@given(cut=st.integers(0, len(WHOLE)))
def test_a_stream_may_end_at_any_byte(cut: int) -> None:
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "samples.raw"
        file.write_bytes(WHOLE[:cut])
        samples = read_raw_samples(file, notes)
        whole = max(0, cut - 64) // 16
        assert samples.latency_ns.tolist() == [1, -2, MISSED, 4][:whole]
        assert len(samples.tsc) == whole
    complete = cut >= 64 and (cut - 64) % 16 == 0
    assert bool(notes) is not complete


def test_a_tail_of_zeros_was_never_measured(tmp_path: Path) -> None:
    """As after a power failure; a wake-up without latency before it stays."""
    file, notes = tmp_path / "samples.raw", list[str]()
    rows = [(1, 77), (0, 78), (0, 0), (0, 0), (0, 0)]
    body = b"".join(struct.pack("<qQ", *row) for row in rows)
    file.write_bytes(header_bytes(loops=9) + body)
    assert read_raw_samples(file, notes).latency_ns.tolist() == [1, 0]
    assert notes == [f"{file} ends in 3 empty records: they are left out"]
    file.write_bytes(header_bytes(loops=9) + struct.pack("<qQqQ", 1, 0, 0, 0))  # no such counter
    assert read_raw_samples(file, []).latency_ns.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("place", "message"), [(0, "wrong magic"), (8, "version"), (12, "sizes"), (16, "sizes")]
)
def test_a_stream_that_is_none_is_named(tmp_path: Path, place: int, message: str) -> None:
    file = tmp_path / "samples.raw"
    file.write_bytes(WHOLE[:place] + b"\x09" + WHOLE[place + 1 :])
    with pytest.raises(DataError, match=message) as caught:
        read_raw_samples(file, [])
    assert "samples.raw" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["status.json", "samples.parquet", "samples.raw"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"{", b"[]", b"{}", b"\xff" * 200])
def test_a_broken_trial_hides_no_other(tmp_path: Path, name: str, content: bytes) -> None:
    path = two_trials(tmp_path)
    if name == "samples.parquet":
        seal_run(path)
    (path / "trials" / "02-other" / name).write_bytes(content)
    good, other = read_run(path).trials
    assert not good.incomplete
    assert good.notes == ()
    assert other.incomplete
    assert any(name in note for note in other.notes)


def test_every_truncation_of_parquet_is_named(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", [TrialMaker(status=make_status(), latency_ns=sample())])
    seal_run(path)
    file = path / "trials" / "01-kernel-io" / "samples.parquet"
    whole = file.read_bytes()
    for size in range(0, len(whole), 97):
        file.write_bytes(whole[:size])
        trial = read_run(path).trials[0]
        assert not trial.readable
        assert "samples.parquet" in trial.notes[0]


def test_a_raw_file_beside_a_broken_sealed_one_is_used(tmp_path: Path) -> None:
    path = two_trials(tmp_path)
    (path / "trials" / "01-good" / "samples.parquet").write_bytes(b"PAR1")
    trial = read_run(path).trials[0]
    assert trial.recorded == COUNT
    assert "is used instead" in trial.notes[0]


@pytest.mark.parametrize("name", ["loads.csv", "loads.parquet"])
def test_broken_loads_do_not_hide_the_samples(tmp_path: Path, name: str) -> None:
    path = two_trials(tmp_path)
    for content in (b"", b"load,side\n", b"load,side,second_ns,ops\na,b,c,d\n", b"\xff\xfe"):
        (path / "trials" / "01-good" / name).write_bytes(content)
        trial = read_run(path).trials[0]
        assert (trial.loads, trial.incomplete) == ((), False)
        assert name in trial.notes[0]


def test_a_trial_without_samples_says_so(tmp_path: Path) -> None:
    status = make_status(state=TrialState.FAILED, error="the guest panicked")
    path = make_run(tmp_path / "run", [TrialMaker(status=status, begun=False)])
    trial = read_run(path).trials[0]
    assert (trial.recorded, trial.incomplete, trial.readable) == (0, True, True)
    assert "no samples" in trial.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a run directory"),
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "no JSON object"),
        ("{}", "format None"),
        ('{"format": 99}', "format 99"),
        ('{"format": "1"}', "format '1'"),
        ('{"format": true}', "format True"),
        ('{"format": 1}', "not as vmjitter writes it"),
    ],
)
def test_a_broken_head_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = two_trials(tmp_path)
    (path / "run.json").unlink()
    if content is not None:
        (path / "run.json").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_run(path)
    assert caught.value.hint
    assert "run.json" in caught.value.message


@pytest.mark.parametrize(
    ("key", "value"),
    [("state", "odd"), ("deadline_ns", "5ms"), ("title", None), ("pair", ["a"]), ("host", [1])],
)
def test_a_wrong_value_is_named(tmp_path: Path, key: str, value: object) -> None:
    path = two_trials(tmp_path)
    data = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(data | {key: value}))
    with pytest.raises(DataError, match=key):
        read_run(path)


def test_keys_of_a_newer_version_are_tolerated(tmp_path: Path) -> None:
    path = two_trials(tmp_path)
    for file in (path / "run.json", path / "trials" / "01-good" / "status.json"):
        data = json.loads(file.read_text())
        file.write_text(json.dumps(data | {"new": {"deep": 1}}))
    assert read_run(path).trials[0].notes == ()


def test_a_missing_plan_is_a_note(tmp_path: Path) -> None:
    path = two_trials(tmp_path)
    (path / "plan.toml").unlink()
    run = read_run(path)
    assert run.plan_toml == ""
    assert "plan.toml" in run.notes[0]


def test_no_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        read_run(tmp_path / "none")


def test_a_load_without_an_interval_has_no_rate() -> None:
    assert make_load("shm", seconds=0).rate == 0.0


def test_the_hundredth_trial_comes_after_the_tenth(tmp_path: Path) -> None:
    trials = [TrialMaker(status=make_status(f"t{number}"), begun=False) for number in range(101)]
    names = [trial.status.scenario for trial in read_run(make_run(tmp_path / "r", trials)).trials]
    assert names == [f"t{number}" for number in range(101)]


def test_a_changed_byte_among_the_samples_is_noticed(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", [TrialMaker(status=make_status(), latency_ns=sample())])
    seal_run(path)
    file = path / "trials" / "01-kernel-io" / "samples.parquet"
    whole = file.read_bytes()
    for place in range(200, 2000, 150):  # within the pages of the first column
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert not read_run(path).trials[0].readable
