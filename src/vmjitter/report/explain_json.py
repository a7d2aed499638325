"""An explanation as JSON: a stable contract.

``spikes`` is the list of all late wake-ups that were explained, the latest of each trial first; the
``ns`` of the causes of each, "unexplained" among them, sum to its ``latency_ns``.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Final

from vmjitter.report.explain import Explanation, TrialExplanation, side_of, title_of
from vmjitter.report.explain_split import SplitRow, split
from vmjitter.trace.attribute import Attribution

EXPLAIN_FORMAT: Final = 1
# Format history:
# 1: first version.  Keys may be added without a new number.

Json = dict[str, object]


def to_json(explanation: Explanation) -> str:
    """Show an explanation as JSON text."""
    return json.dumps(to_data(explanation), indent=2, ensure_ascii=False, allow_nan=False)


def to_data(explanation: Explanation) -> Json:
    """Turn an explanation into what `json.dumps` takes; times are integer nanoseconds."""
    return {
        "format": EXPLAIN_FORMAT,
        "run": str(explanation.run.path),
        "trials": [_trial(trial) for trial in explanation.trials],
        "spikes": [
            _spike(trial, trial.number + place, one)
            for trial in explanation.trials
            for place, one in enumerate(trial.spikes)
        ],
        "split": [_split(row) for row in split(explanation)],
    }


def _split(row: SplitRow) -> Json:
    return {
        "scenario": row.scenario,
        "spikes": row.spikes,
        "latency_ns": row.latency_ns,
        "contention": row.contention,
        "parties": [dataclasses.asdict(one) for one in row.parties],
    }


def _trial(trial: TrialExplanation) -> Json:
    return {
        "scenario": trial.trial.status.scenario,
        "round": trial.trial.status.round,
        "threshold_ns": trial.threshold_ns,
        "late": trial.late,
        "explained": len(trial.spikes),
        "traced": trial.traced,
        "rung": trial.meta.rung,
        "why": trial.meta.why,
        "alignment": {
            **dataclasses.asdict(trial.alignment),
            "known": trial.alignment.known,
            "holds": trial.alignment.holds,
        },
        "controls": len(trial.controls),
        "causes": [
            {
                **dataclasses.asdict(row),
                "title": title_of(row.cause),
                "side": side_of(row.cause),
                "ordinary_too": row.ordinary,
            }
            for row in trial.rows
        ],
        "unseen": [dataclasses.asdict(one) for one in trial.unseen],
        "next": dataclasses.asdict(trial.next) if trial.next is not None else None,
        "hints": list(trial.hints),
        "notes": list(trial.notes),
    }


def _spike(trial: TrialExplanation, number: int, one: Attribution) -> Json:
    return {
        "number": number,
        "scenario": trial.trial.status.scenario,
        "round": trial.trial.status.round,
        "activation": one.window.activation,
        "planned_host_ns": one.window.start,
        "latency_ns": one.window.latency_ns,
        "causes": [
            {
                "cause": share.cause,
                "ns": share.ns,
                "details": [{"detail": detail, "ns": ns} for detail, ns in share.details],
            }
            for share in one.shares
        ],
    }
