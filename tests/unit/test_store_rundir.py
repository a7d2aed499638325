"""The writer: what it leaves behind, also when the disk is full."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fakes.runmaker import (
    PLAN_TOML,
    TrialMaker,
    header_bytes,
    latencies,
    make_run,
    make_status,
    record_bytes,
)
from vmjitter.errors import DataError, UsageError
from vmjitter.guest.layout import RECORD_BYTES, StreamHeader
from vmjitter.store import rundir
from vmjitter.store.reader import read_run
from vmjitter.store.rundir import RunWriter


@pytest.fixture
def run(tmp_path: Path) -> RunWriter:
    return RunWriter(make_run(tmp_path / "run", []))


def test_sizes_are_those_of_the_layout() -> None:
    assert rundir.RECORD_BYTES == RECORD_BYTES
    assert len(bytes(StreamHeader())) == rundir.HEADER_BYTES


def test_makes_the_directory_with_plan_and_head(tmp_path: Path) -> None:
    path = make_run(tmp_path / "deep" / "run", [TrialMaker(status=make_status())])
    assert (path / "plan.toml").read_text() == PLAN_TOML
    text = (path / "run.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text)["state"] == "done"
    trial = path / "trials" / "01-kernel-io"
    names = {file.name for file in trial.iterdir()}
    assert names == {"samples.raw", "loads.csv", "console.log", "qemu.log", "status.json"}


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    make_run(tmp_path, [])
    assert read_run(tmp_path).trials == ()


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_refuses_what_exists(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "mine").write_text("mine")
    with pytest.raises(UsageError, match=r"run exists"):
        make_run(path, [])


@pytest.mark.parametrize("name", ["", "a/b", "../up", "new\nline", "\0"])
def test_refuses_a_scenario_that_is_no_file_name(run: RunWriter, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        run.start_trial(1, make_status(name))


def test_what_was_appended_is_readable_at_once(run: RunWriter) -> None:
    latency = latencies(100, seed=1, worst_ns=50_000)
    with run.start_trial(1, make_status(loops=100)) as trial:
        trial.begin_samples(header_bytes(loops=100, tsc_hz=0))
        for start in range(0, 100, 10):
            trial.append_samples(record_bytes(latency[start : start + 10]))
            stored = read_run(run.path).trials[0]
            assert np.array_equal(stored.latency_ns, latency[: start + 10])
        trial.update_samples_header(header_bytes(loops=100))
        trial.append_samples(record_bytes(latency[:1]))
    stored = read_run(run.path).trials[0]
    assert stored.samples.tsc_hz > 0
    assert stored.recorded == 101


def test_misuse_of_the_stream_is_refused(run: RunWriter) -> None:
    with run.start_trial(1, make_status()) as trial:
        with pytest.raises(ValueError, match="begin_samples"):
            trial.append_samples(bytes(16))
        with pytest.raises(ValueError, match="no stream"):
            trial.update_samples_header(bytes(64))
        with pytest.raises(ValueError, match="64 bytes"):
            trial.begin_samples(bytes(63))
        trial.begin_samples(header_bytes(loops=1))
        with pytest.raises(ValueError, match="begun"):
            trial.begin_samples(header_bytes(loops=1))
        with pytest.raises(ValueError, match="whole records"):
            trial.append_samples(bytes(17))
        trial.close()
        trial.close()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """A disk that takes no more than ``size`` bytes in a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_whole_records(run: RunWriter) -> None:
    latency = latencies(300, seed=1, worst_ns=50_000)
    with run.start_trial(1, make_status(loops=300)) as trial:
        trial.begin_samples(header_bytes(loops=300))
        trial.append_samples(record_bytes(latency[:100]))
        with (
            file_size_limit(64 + 150 * 16 + 5),
            pytest.raises(DataError, match=r"cannot write .*samples\.raw"),
        ):
            trial.append_samples(record_bytes(latency[100:200]))
        stored = read_run(run.path).trials[0]
        assert np.array_equal(stored.latency_ns, latency[:100])
        assert stored.notes == ()
        trial.append_samples(record_bytes(latency[100:]))
    assert np.array_equal(read_run(run.path).trials[0].latency_ns, latency)


def test_a_full_disk_is_named_with_its_remedy(
    run: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with run.start_trial(1, make_status()) as trial:
        trial.begin_samples(header_bytes(loops=1))
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DataError, match="No space left") as caught:
            trial.append_samples(bytes(16))
    assert "free space" in caught.value.hint
    assert "stays readable" in caught.value.hint


def test_a_failed_status_leaves_the_one_before(run: RunWriter) -> None:
    with run.start_trial(1, make_status()) as trial:
        before = (trial.path / "status.json").read_text()
        with file_size_limit(10), pytest.raises(DataError, match=r"status\.json"):
            trial.write_status(make_status(error="x" * 100))
        assert (trial.path / "status.json").read_text() == before
        assert [file.name for file in trial.path.iterdir()] == ["status.json"]
