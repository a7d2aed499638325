"""CSV and Parquet: every row, and what is known of the trial."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fakes.exportmaker import export, export_bytes, imported, judged, trial_of
from fakes.runmaker import PERIOD_NS, T0_NS, TrialMaker, latencies, make_status
from vmjitter.errors import UsageError
from vmjitter.report.exporters import rows
from vmjitter.report.exporters.base import rechunk
from vmjitter.report.importers import csv_plain
from vmjitter.report.result import RunResult, judge
from vmjitter.stats.histogram import MISSED, binned
from vmjitter.store.reader import read_run
from vmjitter.store.seal import seal_run

LATENCY = latencies(3000, seed=9, worst_ns=2_500_000)
LATENCY[7] = -1234
TRIAL = TrialMaker(status=make_status(loops=3000), latency_ns=LATENCY)
OVERFLOWN = binned(
    [(3000, 3999, 70), (9000, 9999, 5)],
    overflow=2,
    overflow_from_ns=10_000,
    min_ns=3000,
    max_ns=4_711_000,
)


def table(text: str) -> tuple[list[str], list[dict[str, str]]]:
    """Comments and rows."""
    lines = text.splitlines(keepends=True)
    notes = [line for line in lines if line.startswith("#")]
    return notes, list(csv.DictReader(lines[len(notes) :]))


def parquet(result: RunResult) -> pq.ParquetFile:
    return pq.ParquetFile(io.BytesIO(export_bytes("parquet", result)))


def test_csv_has_each_activation(tmp_path: Path) -> None:
    notes, found = table(export("csv", judged(tmp_path, TRIAL, trial_of([5, MISSED], "b"))))
    assert [row["scenario"] for row in found] == ["kernel-io"] * 3000 + ["b"] * 2
    mine = found[:3000]
    assert [int(row["index"]) for row in mine] == list(range(3000))
    planned = [T0_NS + index * PERIOD_NS for index in range(3000)]
    assert [int(row["planned_ns"]) for row in mine] == planned
    again = [int(row["latency_ns"] or MISSED) for row in mine]
    assert again == LATENCY.tolist()
    assert [row["missed"] == "true" for row in mine] == (LATENCY == MISSED).tolist()
    assert found[-1] | {"planned_ns": ""} == {
        "scenario": "b",
        "round": "0",
        "index": "1",
        "planned_ns": "",
        "latency_ns": "",
        "missed": "true",
    }
    assert any("condition: TCG" in note for note in notes)
    assert any("wake-ups before their planned time: 1" in note for note in notes)


def test_csv_for_gnuplot_and_numpy(tmp_path: Path) -> None:
    """Comments are skipped, names are not quoted, columns are numbers."""
    result = judged(tmp_path, trial_of([5, -6, 7], "io"))
    text = export("csv", result)
    assert '"' not in text.split("missed\n", 1)[1]
    found = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=_header(text), usecols=(2, 4))
    assert found.tolist() == [[0, 5], [1, -6], [2, 7]]


def _header(text: str) -> int:
    """Lines up to the one with the names."""
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith("scenario,"))


def test_csv_comes_back(tmp_path: Path) -> None:
    """Through our own importer, exactly: latencies, missed activations and period."""
    text = export("csv", judged(tmp_path, TRIAL))
    (series,) = csv_plain.IMPORTER.read(text.encode(), "export.csv").series
    assert series.latency_ns is not None
    assert series.latency_ns.tolist() == LATENCY.tolist()
    assert series.period_ns == PERIOD_NS


@pytest.mark.parametrize("name", ["a,b", 'a"b', "#a", "a b", "µ;"])
def test_csv_holds_every_name(tmp_path: Path, name: str) -> None:
    result = judged(tmp_path, trial_of([5, 6], name))
    _, found = table(export("csv", result))
    assert [row["scenario"] for row in found] == [name] * 2


def test_csv_of_bins() -> None:
    notes, found = table(export("csv", imported(OVERFLOWN)))
    bins = [(row["low_ns"], row["high_ns"], row["count"]) for row in found]
    assert bins == [
        ("3000", "3999", "70"),
        ("9000", "9999", "5"),
        ("10000", "4711000", "2"),
    ]
    assert any("not known: missed activations" in note for note in notes)
    assert any("only known to be 10.00 µs late or more: 2" in note for note in notes)
    assert not any("overruns=" in note for note in notes)
    unknown = binned([], overflow=4, overflow_from_ns=10)
    _, (row,) = table(export("csv", imported(unknown)))
    assert (row["low_ns"], row["high_ns"], row["count"]) == ("10", "", "4")


def test_activations_and_bins_do_not_mix(tmp_path: Path) -> None:
    own, other = judged(tmp_path, TRIAL), imported(OVERFLOWN)
    mixed = RunResult(run=own.run, trials=(*own.trials, *other.trials))
    for name in ("csv", "parquet"):
        with pytest.raises(UsageError, match=r"kernel-io: each wake-up .* thread-0: only a hist"):
            export_bytes(name, mixed)


def test_parquet_is_the_csv_with_types(tmp_path: Path) -> None:
    found = parquet(judged(tmp_path, TRIAL, trial_of([5, MISSED], "b", round=3))).read()
    assert found.column_names == rows.ACTIVATIONS.names
    wanted = [None if latency == MISSED else latency for latency in LATENCY.tolist()]
    assert found["latency_ns"].to_pylist() == [*wanted, 5, None]
    assert found["missed"].to_pylist() == [*(LATENCY == MISSED).tolist(), False, True]
    assert found["round"].to_pylist() == [0] * 3000 + [3, 3]
    assert found["planned_ns"][3001].as_py() == T0_NS + PERIOD_NS


def test_parquet_says_units_clock_and_period(tmp_path: Path) -> None:
    result = judged(tmp_path, TRIAL, trial_of([5], "b"), deadline_ns=1_000_000)
    stored = parquet(result).metadata.metadata
    assert stored is not None
    about = {key.decode(): value.decode() for key, value in stored.items()}
    columns = json.loads(about["columns"])
    assert list(columns) == rows.ACTIVATIONS.names
    assert all(columns[name].startswith("ns: ") for name in ("planned_ns", "latency_ns"))
    first, second = json.loads(about["trials"])
    assert (first["period_ns"], first["t0_ns"]) == (PERIOD_NS, T0_NS)
    assert (first["clock"], first["accel"]) == ("CLOCK_MONOTONIC", "tcg")
    assert first["conditions"] == ["TCG: times are not those of a KVM host"]
    assert (first["verdict"], second["verdict"]) == ("fail", "pass")
    assert first["misses"] == int((LATENCY > 1_000_000).sum() + (LATENCY == MISSED).sum())
    assert json.loads(about["machines"])["host CPU"] == "Testcore 9000"


def test_parquet_row_groups_hold_one_trial_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmjitter.store.samples.ROW_GROUP_ROWS", 1000)
    source = parquet(judged(tmp_path, TRIAL, trial_of([5] * 1500, "b")))
    groups = [source.read_row_group(number) for number in range(source.num_row_groups)]
    held = [(set(group["scenario"].to_pylist()), group.num_rows) for group in groups]
    assert held == [({"kernel-io"}, 1000)] * 3 + [({"b"}, 1000), ({"b"}, 500)]


def test_parquet_of_bins() -> None:
    source = parquet(imported(OVERFLOWN, binned([], overflow=4, overflow_from_ns=10)))
    found = source.read()
    assert found["scenario"].to_pylist() == ["thread-0"] * 3 + ["thread-1"]
    assert found["low_ns"].to_pylist() == [3000, 9000, 10_000, 10]
    assert found["high_ns"].to_pylist() == [3999, 9999, 4_711_000, None]
    assert found["count"].to_pylist() == [70, 5, 2, 4]


def test_the_same_from_a_sealed_run(tmp_path: Path) -> None:
    """Raw or Parquet, and each time again: the same bytes."""
    raw = judged(tmp_path, TRIAL)
    before = {name: export_bytes(name, raw) for name in ("csv", "parquet")}
    seal_run(tmp_path / "run")
    sealed = judge(read_run(tmp_path / "run"))
    assert {name: export_bytes(name, sealed) for name in before} == before


def test_rechunk() -> None:
    chunks = [np.arange(5), np.arange(5, 6), np.arange(6, 6), np.arange(6, 13)]
    found = [chunk.tolist() for chunk in rechunk(chunks, 4)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12]]
    assert list(rechunk([], 4)) == []
