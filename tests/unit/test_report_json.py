"""The JSON results hold what their schema says."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.report.json_out import to_data
from vmjitter.report.json_schema import report_schema
from vmjitter.report.result import judge
from vmjitter.store.reader import read_run

REPOSITORY = Path(__file__).parents[2]
Json = dict[str, object]
WORST = {"seed": 1, "worst_ns": 900_000}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Results of a run with a long trial, a short one and an empty one."""
    trials = [
        TrialMaker(status=make_status(name, loops=count), latency_ns=latencies(count, **WORST))
        for name, count in (("long", 20_000), ("short", 50))
    ]
    none = np.empty(0, np.int64)
    trials.append(TrialMaker(status=make_status("none"), latency_ns=none))
    run = make_run(tmp_path_factory.mktemp("run"), trials, deadline_ns=100_000)
    printed: Json = json.loads(json.dumps(to_data(judge(read_run(run))), allow_nan=False))
    return printed


def test_results_are_as_the_schema_says(
    validator: jsonschema.Draft202012Validator, data: Json
) -> None:
    assert [error.message for error in validator.iter_errors(data)] == []


def test_every_key_of_run_and_trial_is_in_the_schema(data: Json) -> None:
    schema = report_schema()
    trial = schema["$defs"]["Trial"]  # type: ignore[index]
    assert set(schema["properties"]) == set(data)  # type: ignore[call-overload]
    assert set(trial["properties"]) == set(data["trials"][0])  # type: ignore[index]


@pytest.mark.parametrize("key", ["verdict", "quantiles", "misses", "p999_ns", "tail"])
def test_a_result_without_a_key_is_not_valid(
    validator: jsonschema.Draft202012Validator, data: Json, key: str
) -> None:
    broken = copy.deepcopy(data)
    del broken["trials"][0][key]  # type: ignore[index]
    assert list(validator.iter_errors(broken))


def test_the_published_schema_is_up_to_date() -> None:
    published = json.loads((REPOSITORY / "docs/reference/report.schema.json").read_text())
    assert published == report_schema(), "run script/docs"


def test_every_key_is_explained(data: Json) -> None:
    page = (REPOSITORY / "docs/reference/json.md").read_text()
    keys = [*data, *data["trials"][0]]  # type: ignore[index]
    assert [key for key in keys if f"`{key}`" not in page] == []
