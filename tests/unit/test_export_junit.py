"""JUnit XML: only a deadline that is shown to hold is a passed test."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fakes.exportmaker import export, imported, judged, trial_of
from fakes.runmaker import TrialMaker, latencies, make_status
from vmjitter.model.judge import Target
from vmjitter.model.run import TrialState
from vmjitter.report.result import RunResult
from vmjitter.stats.histogram import MISSED, binned

LATE_NS = 10_000_000
GOOD = TrialMaker(status=make_status("good"), latency_ns=latencies(1000, seed=5, worst_ns=900_000))

# What the schema of Apache Ant's JUnit task demands, element by element: attributes with the form
# of their values, and children in their order.  "?": may be missing.
TIME = r"\d+(\.\d+)?"
SUITE = {
    "id": r"\d+",
    "package": r"\S(.*\S)?",
    "name": r"\S(.*\S)?",
    "tests": "1",
    "failures": "[01]",
    "errors": "[01]",
    "skipped": "[01]",
    "time": TIME,
    "hostname": "localhost",
    "timestamp?": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
}
CASE = {"classname": r"\S(.*\S)?", "name": r"\S(.*\S)?", "time": TIME}
OUTCOME = {"type": ".+", "message": ".+"}


def suites(result: RunResult) -> list[ET.Element]:
    root = ET.fromstring(export("junit", result))
    assert (root.tag, root.attrib) == ("testsuites", {})
    for number, suite in enumerate(root):
        check_suite(suite)
        assert suite.get("id") == str(number)
    return list(root)


def check_suite(suite: ET.Element) -> None:
    check(suite, "testsuite", SUITE)
    assert [child.tag for child in suite] == ["properties", "testcase", "system-out", "system-err"]
    for entry in suite[0]:
        check(entry, "property", {"name": r"\S(.*\S)?", "value": ".*"})
    check(suite[1], "testcase", CASE)
    assert len(suite[1]) <= 1
    for outcome in suite[1]:
        check(outcome, "failure|error|skipped", OUTCOME)
    counted = [suite.get(key) for key in ("failures", "errors", "skipped")]
    seen = [str(int(kind == outcome_of(suite)[0])) for kind in ("failure", "error", "skipped")]
    assert counted == seen


def check(element: ET.Element, tag: str, wanted: dict[str, str]) -> None:
    assert re.fullmatch(tag, element.tag)
    names = {name.rstrip("?"): form for name, form in wanted.items()}
    assert set(element.attrib) <= set(names)
    assert {name for name in wanted if not name.endswith("?")} <= set(element.attrib)
    for name, value in element.attrib.items():
        assert re.fullmatch(names[name], value), (element.tag, name, value)


def outcome_of(suite: ET.Element) -> tuple[str, str]:
    case = suite[1]
    return (case[0].tag, case[0].get("type", "")) if len(case) else ("passed", "")


@pytest.mark.parametrize(
    ("trial", "deadline_ns", "outcome"),
    [
        (GOOD, LATE_NS, ("passed", "")),
        (GOOD, 100_000, ("failure", "deadline-missed")),
        (GOOD, None, ("skipped", "no-deadline")),
        (trial_of([5, MISSED], "x"), LATE_NS, ("failure", "deadline-missed")),
        (trial_of([5], "x", invalid=("load shm stopped",)), LATE_NS, ("error", "invalid")),
        (trial_of([5], "x", invalid=("load shm stopped",)), 1, ("error", "invalid")),
        (trial_of([5], "x", invalid=("load shm stopped",)), None, ("error", "invalid")),
        (trial_of([5], "x", state=TrialState.RUNNING), LATE_NS, ("error", "incomplete")),
        (trial_of([5], "x", state=TrialState.RUNNING), None, ("error", "incomplete")),
        (
            TrialMaker(
                status=make_status(state=TrialState.FAILED, error="it panicked"), begun=False
            ),
            LATE_NS,
            ("error", "invalid"),
        ),
    ],
)
def test_outcomes(
    tmp_path: Path, trial: TrialMaker, deadline_ns: int | None, outcome: tuple[str, str]
) -> None:
    (suite,) = suites(judged(tmp_path, trial, deadline_ns=deadline_ns))
    assert outcome_of(suite) == outcome


def test_too_short_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    result = judged(tmp_path, GOOD, deadline_ns=LATE_NS, max_misses_per_hour=1.0)
    (suite,) = suites(result)
    assert outcome_of(suite) == ("error", "inconclusive")
    message = suite[1][0].get("message", "")
    assert "more" in message
    assert not message.startswith("INCONCLUSIVE")
    assert suite[1][0].text is not None
    assert suite[1][0].text.startswith(f"INCONCLUSIVE: {message}\n")


def test_a_scenario_that_was_not_measured_is_an_error(tmp_path: Path) -> None:
    found = suites(judged(tmp_path, GOOD, deadline_ns=LATE_NS, scenarios=("good", "later")))
    assert [(suite.get("name"), outcome_of(suite)) for suite in found] == [
        ("good", ("passed", "")),
        ("later", ("error", "not-measured")),
    ]


def test_rounds_are_tests_of_their_own(tmp_path: Path) -> None:
    rounds = [trial_of([5], "a", round=number) for number in (1, 2)]
    found = suites(judged(tmp_path, *rounds))
    assert [suite[1].get("name") for suite in found] == ["a #1", "a #2"]


def test_conditions_figures_and_target_are_in_it(tmp_path: Path) -> None:
    (suite,) = suites(judged(tmp_path, GOOD, deadline_ns=LATE_NS))
    entries = {entry.get("name"): entry.get("value") for entry in suite[0]}
    assert entries["condition"] == "TCG: times are not those of a KVM host"
    assert (entries["max_ns"], entries["deadline_ns"]) == ("900000", "10000000")
    assert (entries["confidence_percent"], entries["verdict"]) == ("95", "pass")
    assert "max_misses_per_hour" not in entries
    said = suite[2].text or ""
    assert said.startswith("PASS: ")
    assert "condition: TCG" in said
    assert "deadline 10.00 ms, no miss allowed, confidence 95 %" in said
    assert suite.get("timestamp") == "2026-01-31T14:25:31"
    assert suite.get("time") == "1.000000000"


def test_what_another_tool_cannot_tell_is_no_pass() -> None:
    result = imported(
        binned([(3000, 3999, 10_000_000)], min_ns=3000, max_ns=3000),
        target=Target(deadline_ns=LATE_NS),
    )
    (suite,) = suites(result)
    assert outcome_of(suite) == ("error", "inconclusive")
    assert "timestamp" not in suite.attrib  # not known, and none is invented
    entries = {entry.get("name") for entry in suite[0]}
    assert "overruns" not in entries
    assert "not known: missed activations" in (suite[2].text or "")


def test_hostile_texts(tmp_path: Path) -> None:
    bad = '<b> & "q" ]]> \x00\x1b[31m \u2028\ufffe\n x'
    trial = trial_of([5], "s", title=bad, conditions=(bad,), invalid=(bad,), deviations=(bad,))
    (suite,) = suites(judged(tmp_path, trial, plan=bad, title=bad, deadline_ns=1))
    assert suite.get("package") == '<b> & "q" ]]>  [31m   x'
    assert suite[1][0].get("message") == '<b> & "q" ]]>  [31m   x'


def test_an_empty_run(tmp_path: Path) -> None:
    assert suites(judged(tmp_path)) == []
