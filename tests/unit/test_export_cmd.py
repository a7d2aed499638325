"""The verb `export`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from fakes.exportmaker import trial_of
from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.cli import export_cmd
from vmjitter.errors import DataError, UsageError
from vmjitter.report.exporters import EXPORTERS
from vmjitter.store.seal import seal_run, verify_checksums

TRIAL = TrialMaker(status=make_status(), latency_ns=latencies(1000, seed=1, worst_ns=900_000))
QUIET = trial_of([5, 6, 7], "quiet")

PROGRAM = """
import sys
import typer
from vmjitter.cli import export_cmd
from vmjitter.cli.output import print_error
from vmjitter.errors import VmjitterError

app = typer.Typer(pretty_exceptions_enable=False)
app.callback()(lambda: None)
export_cmd.register(app)
try:
    app()
except VmjitterError as error:
    print_error(error)
    sys.exit(error.exit_status)
"""
"""The verb in a process of its own, with errors shown as the command line shows them."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "monday", [TRIAL, QUIET])


def application() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    export_cmd.register(app)
    return app


def call(*arguments: object) -> tuple[str, str]:
    """What a successful call says on stdout and stderr."""
    done = CliRunner().invoke(application(), ["export", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "export", *map(str, arguments)]


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_into_a_directory(run: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / "out"
    place.mkdir()
    out, err = call(run, "--format", name, "-o", place)
    (file,) = place.iterdir()
    assert file.name == f"monday{EXPORTERS[name].suffix}"
    assert (out, err) == ("", f"written: {file}\n")
    first = file.read_bytes()
    assert b"TCG: times are not those of a KVM host" in first
    call(run, "--format", name, "-o", file)
    assert file.read_bytes() == first
    if not EXPORTERS[name].binary:
        assert call(run, "--format", name)[0].encode() == first
        assert call(run, "--format", name, "-o", "-")[0].encode() == first


def test_list_and_help_name_every_format() -> None:
    listed = call("--list")[0].splitlines()
    assert [line.split()[0] for line in listed] == list(EXPORTERS)
    shown = " ".join(call("--help")[0].split())
    assert [name for name in EXPORTERS if name not in shown] == []


def test_one_scenario(run: Path) -> None:
    root = ET.fromstring(call(run, "--format", "junit", "--scenario", "quiet")[0])
    assert [suite.get("name") for suite in root] == ["quiet"]
    both = ["--scenario", "quiet", "--scenario", "kernel-io"]
    root = ET.fromstring(call(run, "--format", "junit", *both)[0])
    assert [suite.get("name") for suite in root] == ["kernel-io", "quiet"]
    with pytest.raises(UsageError) as caught:
        call(run, "--format", "junit", "--scenario", "quite")
    assert "'quiet'" in caught.value.hint


def test_a_deadline_from_the_command_line(run: Path) -> None:
    options = ("--format", "cyclictest-json", "--deadline", "500us")
    data = json.loads(call(run, *options)[0])
    assert [data["thread"][key]["vmjitter"]["verdict"] for key in "01"] == ["fail", "pass"]
    assert data["vmjitter"]["notes"] == [
        "deadline, allowed misses or confidence were set after the measurement"
    ]
    data = json.loads(call(run, *options, "--max-misses-per-hour", 1, "--confidence", 99)[0])
    assert data["thread"]["1"]["vmjitter"]["verdict"] == "inconclusive"
    assert data["vmjitter"]["confidence_percent"] == 99


def test_buckets(run: Path) -> None:
    text = call(run, "--format", "cyclictest-histogram", "--histogram-max", 30)[0]
    assert len([line for line in text.splitlines() if line[0] != "#"]) == 30
    with pytest.raises(UsageError, match="means nothing for csv"):
        call(run, "--format", "csv", "--histogram-max", 30)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((), "nothing to export", "vmjitter export RUN"),
        (("RUN",), "no format was given", "cyclictest-json, "),
        (("RUN", "--format", "junitt"), "no format 'junitt'", "'junit'"),
        (("RUN", "--format", "csv", "-o", "no/where.csv"), "no directory no", "mkdir -p no"),
        (("RUN", "--format", "csv", "--deadline", "5"), "'5' is not a duration", "1ms"),
    ],
)
def test_usage(run: Path, arguments: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        call(*(run if word == "RUN" else word for word in arguments))
    assert hint in caught.value.hint


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        call(tmp_path / "none", "--format", "csv")


@pytest.mark.parametrize(
    "inside", ["run.json", "report.html", "trials/01-kernel-io/samples.parquet", "trials/new.csv"]
)
def test_what_was_measured_is_never_replaced(run: Path, inside: str) -> None:
    seal_run(run)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match="is what was measured"):
        call(run, "--format", "parquet", "-o", run / inside)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_an_export_in_a_sealed_run_has_its_checksum(run: Path) -> None:
    seal_run(run)
    call(run, "--format", "junit", "-o", run)
    assert (run / "monday.junit.xml").exists()
    assert verify_checksums(run) == []
    call(run, "--format", "junit", "--deadline", "1ms", "-o", run)
    assert verify_checksums(run) == []


def test_a_run_that_was_changed_says_so(run: Path) -> None:
    seal_run(run)
    (run / "plan.toml").write_text("other")
    assert "was changed after the measurement" in call(run, "--format", "markdown")[0]


def test_a_damaged_run_leaves_the_old_file(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("old")
    (run / "run.json").write_text("?")
    with pytest.raises(DataError, match=r"run\.json"):
        call(run, "--format", "csv", "-o", file)
    assert file.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["monday", "out.csv"]


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file can become larger; the kernel then refuses the write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", EXPORTERS)
def test_full_disk(run: Path, tmp_path: Path, name: str) -> None:
    """One error, no half file, no leftovers: whatever was there stays."""
    file = tmp_path / "out"
    file.write_text("old")
    with pytest.raises(DataError) as caught, small_disk(100):
        call(run, "--format", name, "-o", file)
    assert caught.value.message == f"cannot write {file}: File too large"
    assert caught.value.hint
    assert file.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["monday", "out"]


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_device_is_written_to_as_it_is(run: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot write /dev/full: No space left"):
        call(run, "--format", name, "-o", "/dev/full")
    assert Path("/dev/full").is_char_device()


def test_full_disk_behind_a_redirection(run: Path) -> None:
    """Also when the process ends, nothing more is tried and nothing more is said."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(run, "--format", "csv"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    first, hint = done.stderr.decode().splitlines()
    assert first == "vmjitter: cannot write standard output: No space left on device"
    assert "free space" in hint


def test_a_reader_that_has_enough(run: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(run, "--format", "csv"), stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_bytes_are_not_for_a_terminal(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, terminal = pty.openpty()
    with open(terminal, "w") as screen, monkeypatch.context() as changed:  # noqa: PTH123
        changed.setattr(sys, "stdout", screen)
        with pytest.raises(UsageError, match="parquet is not for a terminal") as caught:
            application()(["export", str(run), "--format", "parquet"])
    os.close(leader)
    assert "--output" in caught.value.hint


def test_bytes_go_through_a_pipe(run: Path) -> None:
    done = CliRunner().invoke(application(), ["export", str(run), "--format", "parquet"])
    assert pq.read_table(io.BytesIO(done.stdout_bytes)).num_rows == 1003
