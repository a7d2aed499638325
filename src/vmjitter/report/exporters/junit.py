"""JUnit XML, which every CI service shows as test results: one test per trial.

Only a verdict that the deadline is held is a passed test.  A miss is a failure; what could not be
decided is an error, because a passed or skipped test would hide it; without a deadline nothing was
tested, which is a skipped test.

Layout: every trial is a suite of its own, because the schema of Apache Ant's JUnit task, the
strictest one in use (JUnit.xsd of windyroad/JUnit-Schema), has properties and output for suites
only.  Valid against that schema and against that of Jenkins's xUnit plugin (junit-10.xsd); the time
of a measurement, which the first demands, is left out where another tool's file does not tell it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree as ET

from vmjitter.report.exporters.base import Exporter, Material, text, verdict_of
from vmjitter.report.exporters.words import (
    NOT_MEASURED,
    decimal_seconds,
    figures,
    machines,
    origin,
    plain,
    remarks,
    sentence,
    target_text,
    verdict_text,
)
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.verdict import Outcome


def _render(material: Material) -> Iterator[str]:
    result = material.result
    root = ET.Element("testsuites")
    for number, trial in enumerate(result.trials):
        _add_trial(root, number, trial, result)
    for number, name in enumerate(result.not_measured, len(result.trials)):
        suite, case = _add_suite(root, number, plain(name), result)
        _set_outcome(suite, case, ("error", "not-measured", NOT_MEASURED, ""))
        _add_output(suite, [NOT_MEASURED])
    ET.indent(root)
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield ET.tostring(root, encoding="unicode")
    yield "\n"


def _add_trial(root: ET.Element, number: int, trial: TrialResult, result: RunResult) -> None:
    suite, case = _add_suite(root, number, plain(trial.name), result)
    seconds = decimal_seconds(trial.trial.digest.duration_ns)
    for element in (suite, case):
        element.set("time", seconds)
    moment = _timestamp(trial.status.started_utc or result.run.info.created_utc)
    if moment:
        suite.set("timestamp", moment)
    for name, value in _properties(trial, result):
        ET.SubElement(suite[0], "property", name=name, value=value)
    lines = _lines(trial, result)
    outcome = _outcome(trial)
    if outcome:
        _set_outcome(suite, case, (*outcome, "\n".join(lines)))
    _add_output(suite, lines)


def _add_suite(
    root: ET.Element, number: int, name: str, result: RunResult
) -> tuple[ET.Element, ET.Element]:
    """A suite with its properties, still none, and its only test."""
    plan = plain(result.run.info.plan) or "vmjitter"
    counts = {"tests": "1", "failures": "0", "errors": "0", "skipped": "0"}
    suite = ET.SubElement(root, "testsuite", id=str(number), package=plan, name=name)
    suite.attrib.update(counts, time="0", hostname="localhost")
    moment = _timestamp(result.run.info.created_utc)
    if moment:
        suite.set("timestamp", moment)
    ET.SubElement(suite, "properties")
    return suite, ET.SubElement(suite, "testcase", classname=plan, name=name, time="0")


def _timestamp(utc: str) -> str:
    """Without a zone, as the schema demands; it is UTC."""
    try:
        return f"{datetime.fromisoformat(utc).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    except ValueError:
        return ""


def _outcome(trial: TrialResult) -> tuple[str, str, str] | None:
    """Element, type and message; None for a passed test."""
    verdict = verdict_of(trial)
    said = sentence(trial)
    if verdict.outcome is Outcome.FAIL:
        return "failure", "deadline-missed", said
    if trial.reasons:
        return "error", "invalid", plain("; ".join(trial.reasons))
    if trial.incomplete:
        return "error", "incomplete", trial.incomplete_text
    if verdict.outcome is Outcome.INCONCLUSIVE:
        return "error", "inconclusive", said
    if verdict.outcome is Outcome.NONE:
        return "skipped", "no-deadline", said
    return None


def _set_outcome(suite: ET.Element, case: ET.Element, outcome: tuple[str, str, str, str]) -> None:
    kind, type_, message, body = outcome
    suite.set({"failure": "failures", "error": "errors"}.get(kind, kind), "1")
    element = ET.SubElement(case, kind, type=type_, message=message)
    element.text = body or message


def _properties(trial: TrialResult, result: RunResult) -> Iterator[tuple[str, str]]:
    yield "verdict", verdict_of(trial).outcome.value
    yield from ((name, str(value)) for name, value in figures(trial) if value is not None)
    target = result.target
    if target.deadline_ns is not None:
        yield "deadline_ns", str(target.deadline_ns)
        if target.max_misses_per_hour is not None:
            yield "max_misses_per_hour", f"{target.max_misses_per_hour:g}"
        yield "confidence_percent", f"{target.confidence_percent:g}"
    yield from remarks(trial)
    yield from machines(result)


def _lines(trial: TrialResult, result: RunResult) -> list[str]:
    target = target_text(result)
    return [
        verdict_text(trial),
        *([target] if target else []),
        *(f"{kind}: {text}" for kind, text in remarks(trial)),
        origin(result),
        *(f"note: {plain(note)}" for note in result.run.notes),
    ]


def _add_output(suite: ET.Element, lines: list[str]) -> None:
    ET.SubElement(suite, "system-out").text = "\n".join(lines)
    ET.SubElement(suite, "system-err")


EXPORTER: Final = Exporter(
    name="junit",
    what="JUnit XML for CI: one test per trial, passed only if the deadline is shown to hold",
    suffix=".junit.xml",
    write=text(_render),
)
