"""Sealing: nothing is lost, and every later change is seen."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.errors import DataError
from vmjitter.model.run import TrialState
from vmjitter.store import seal
from vmjitter.store.reader import read_run
from vmjitter.store.samples import SampleArrays, read_parquet_samples
from vmjitter.store.seal import is_sealed, seal_run, update_checksums, verify_checksums

LATENCY = latencies(1000, seed=3, worst_ns=5_000_000)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    running = make_status("running", state=TrialState.RUNNING)
    return make_run(
        tmp_path / "run",
        [
            TrialMaker(status=make_status(), latency_ns=LATENCY),
            TrialMaker(status=make_status("cut"), latency_ns=LATENCY, cut_bytes=7),
            TrialMaker(status=make_status("none"), begun=False),
            TrialMaker(status=running, latency_ns=LATENCY),
        ],
    )


def names(run: Path, trial: str) -> set[str]:
    return {file.name for file in (run / "trials" / trial).iterdir()}


def test_raw_files_become_parquet(run: Path) -> None:
    before = read_run(run)
    seal_run(run)
    after = read_run(run)
    for old, new in zip(before.trials, after.trials, strict=True):
        assert np.array_equal(old.latency_ns, new.latency_ns)
        assert np.array_equal(old.tsc, new.tsc)
        assert len(old.loads) == len(new.loads)
    logs = {"console.log", "qemu.log", "status.json"}
    assert names(run, "01-kernel-io") == {"samples.parquet", "loads.parquet"} | logs
    assert names(run, "02-cut") == {"samples.parquet", "loads.parquet"} | logs
    assert names(run, "03-none") == {"loads.parquet"} | logs
    assert names(run, "04-running") == {"samples.raw", "loads.csv"} | logs


def test_parquet_describes_itself(run: Path) -> None:
    seal_run(run)
    file = run / "trials" / "01-kernel-io" / "samples.parquet"
    table = pq.read_table(file)
    assert table.column("latency_ns").null_count == 5
    assert table.column("tsc").null_count == 5
    about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert about == {
        "format": "1",
        "scenario": "kernel-io",
        "period_ns": "1000000",
        "t0_ns": "5000000000",
        "clock": "CLOCK_MONOTONIC",
        "tsc_hz": "3000000000",
        "loops": "1000",
        "accel": "tcg",
        "conditions": json.dumps(["TCG: times are not those of a KVM host"]),
    }


def test_sealing_again_changes_nothing(run: Path) -> None:
    seal_run(run)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    seal_run(run)
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def test_sealing_goes_on_after_a_crash(run: Path) -> None:
    trial = run / "trials" / "01-kernel-io"
    raw = (trial / "samples.raw").read_bytes()
    seal_run(run)
    (trial / "samples.raw").write_bytes(raw)
    (trial / "samples.parquet.tmp").write_bytes(b"PAR1")
    seal_run(run)
    assert "samples.raw" not in names(run, trial.name)
    assert "samples.parquet.tmp" not in names(run, trial.name)
    assert verify_checksums(run) == []


def test_a_raw_file_stays_if_it_does_not_read_back(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = read_parquet_samples

    def wrong(file: Path) -> SampleArrays:
        samples = honest(file)
        samples.latency_ns[17] += 1
        return samples

    monkeypatch.setattr(seal, "read_parquet_samples", wrong)
    with pytest.raises(DataError, match="does not read back"):
        seal_run(run)
    assert "samples.raw" in names(run, "01-kernel-io")
    assert "samples.parquet" not in names(run, "01-kernel-io")


def test_a_damaged_raw_file_is_left_alone(run: Path) -> None:
    raw = run / "trials" / "01-kernel-io" / "samples.raw"
    raw.write_bytes(b"?" * 200)
    (run / "trials" / "02-cut" / "status.json").write_text("{")
    seal_run(run)
    assert raw.read_bytes() == b"?" * 200
    assert "samples.raw" in names(run, "02-cut")
    assert verify_checksums(run) == []


def test_checksums_are_those_of_sha256sum(run: Path) -> None:
    seal_run(run)
    done = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=run, check=False)
    assert done.returncode == 0
    listed = [line[66:] for line in (run / "SHA256SUMS").read_text().splitlines()]
    there = [f.relative_to(run).as_posix() for f in run.rglob("*") if f.is_file()]
    assert listed == sorted(set(there) - {"SHA256SUMS"})


def test_every_change_is_seen(run: Path) -> None:
    assert "has no SHA256SUMS" in verify_checksums(run)[0]
    assert not is_sealed(run)
    seal_run(run)
    (run / "plan.toml").write_text("other")
    (run / "new").write_text("new")
    (run / "run.json").unlink()
    new, changed, missing = verify_checksums(run)
    assert "new is not in SHA256SUMS" in new
    assert "plan.toml was changed" in changed
    assert "run.json cannot be read" in missing


def test_only_the_named_checksums_are_renewed(run: Path) -> None:
    seal_run(run)
    (run / "plan.toml").write_text("other")
    figure = run / "figures" / "one.png"
    figure.parent.mkdir()
    figure.write_bytes(b"png")
    update_checksums(run, [figure])
    assert [text.split("/")[-1] for text in verify_checksums(run)] == [
        "plan.toml was changed after the measurement"
    ]


def test_a_run_that_is_not_sealed_gets_no_checksums(run: Path) -> None:
    update_checksums(run, [run / "plan.toml"])
    assert not is_sealed(run)


def test_a_broken_list_is_named(run: Path) -> None:
    (run / "SHA256SUMS").write_text("nothing\n")
    assert "cannot be read" in verify_checksums(run)[0]
