"""The verb `import`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vmjitter.cli import import_cmd
from vmjitter.errors import DataError, UsageError
from vmjitter.report.importers import IMPORTERS

GOLDEN = Path(__file__).parents[1] / "golden"
JSON = str(GOLDEN / "cyclictest/2.10-stopped.json")
HISTOGRAM = str(GOLDEN / "cyclictest/2.4-histogram.txt")


def call(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    import_cmd.register(app)
    done = CliRunner().invoke(app, ["import", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_what_the_file_says() -> None:
    status, out = call(JSON)
    words = " ".join(out.split())
    assert status == 0
    assert "cyclictest, imported from 2.10-stopped.json" in words
    assert "59 of 2000 periods have no wake-up" in words
    assert "7 wake-ups beyond the last bin" in words
    assert "the source does not tell latencies beyond the last bin, missed activations" in words


@pytest.mark.parametrize(
    ("deadline", "wanted"), [("1ms", 3), ("50ms", 4)], ids=["surely missed", "cannot be told"]
)
def test_status_of_the_verdict(deadline: str, wanted: int) -> None:
    assert call(JSON, "--deadline", deadline)[0] == wanted


def test_json_per_thread() -> None:
    status, out = call(JSON, "--json")
    data = json.loads(out)
    assert status == 0
    assert data["format"] == 1
    assert data["bench"] == "import"
    first, second = data["trials"]
    assert (first["scenario"], first["count"], first["overflow"]) == ("thread-0", 1941, 7)
    assert (first["min_ns"], first["max_ns"]) == (11_000, 29_978_000)
    assert (first["valid"], first["misses"]) == (True, None)
    assert second["overflow"] == 25
    assert "missed activations" in first["lacks"]


def test_a_period_from_the_command_line() -> None:
    for text in ("1ms", "1000"):
        _, out = call(HISTOGRAM, "--period", text, "--json")
        assert [trial["period_ns"] for trial in json.loads(out)["trials"]] == [1_000_000] * 2
    with pytest.raises(UsageError, match="tells its period"):
        call(JSON, "--period", "1ms")
    with pytest.raises(UsageError, match="longer than nothing"):
        call(HISTOGRAM, "--period", "0")
    with pytest.raises(UsageError, match="not a duration"):
        call(HISTOGRAM, "--period", "soon")


def test_the_list_of_formats() -> None:
    status, out = call("--list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [each.name for each in IMPORTERS]
    assert all(each.what in out for each in IMPORTERS)


def test_stored_and_shown(tmp_path: Path) -> None:
    run = tmp_path / "run"
    status, out = call(HISTOGRAM, "-o", str(run), "--deadline", "5us", "--details")
    assert status == 3
    assert str(run) in out.replace("\n", "")
    assert (run / "source/2.4-histogram.txt").exists()
    assert json.loads((run / "run.json").read_text())["deadline_ns"] == 5_000
    with pytest.raises(UsageError, match="not an empty directory"):
        call(HISTOGRAM, "-o", str(run))


def test_a_format_by_name() -> None:
    _, out = call(HISTOGRAM, "--format", "cyclictest-histogram", "--json")
    assert len(json.loads(out)["trials"]) == 2
    with pytest.raises(UsageError, match="no format 'cyclictest'"):
        call(HISTOGRAM, "--format", "cyclictest")


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which file"):
        call()
    with pytest.raises(UsageError, match="is a directory") as caught:
        call(str(tmp_path))
    assert "vmjitter report" in caught.value.hint
    with pytest.raises(DataError, match="cannot be read"):
        call(str(tmp_path / "none"))
