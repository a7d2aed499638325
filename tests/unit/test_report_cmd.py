"""The verb `report`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.cli import report_cmd
from vmjitter.errors import DataError
from vmjitter.store.seal import seal_run, verify_checksums

TRIAL = TrialMaker(status=make_status(), latency_ns=latencies(1000, seed=1, worst_ns=900_000))


def call(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    report_cmd.register(app)
    done = CliRunner().invoke(app, ["report", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_table_and_figures(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", [TRIAL])
    seal_run(path)
    status, out = call(str(path))
    assert status == 0
    assert "kernel-io" in out
    assert "Figures:" in out
    assert (path / "figures" / "latency-kernel-io.svg").exists()
    assert verify_checksums(path) == []


def test_json_alone_on_stdout(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", [TRIAL], deadline_ns=1000)
    status, out = call(str(path), "--json", "--no-figures")
    assert status == 3
    assert json.loads(out)["trials"][0]["scenario"] == "kernel-io"
    assert not (path / "figures").exists()


def test_a_changed_file_is_reported(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", [TRIAL])
    seal_run(path)
    (path / "plan.toml").write_text("other")
    _, out = call(str(path), "--no-figures")
    assert "was changed after the measurement" in " ".join(out.split())


def test_finish_seals_draws_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run(tmp_path / "run", [TRIAL])
    with pytest.raises(typer.Exit) as caught:
        report_cmd.finish_run(path, as_json=True)
    assert caught.value.exit_code == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    assert (path / "trials" / "01-kernel-io" / "samples.parquet").exists()
    assert verify_checksums(path) == []


def test_errors_go_up(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        call(str(tmp_path / "none"))
    path = make_run(tmp_path / "run", [TRIAL])
    (path / "figures").write_text("in the way")
    with pytest.raises(DataError) as caught:
        call(str(path))
    assert "--no-figures" in caught.value.hint
