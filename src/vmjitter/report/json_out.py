"""The results of a run as JSON: a stable contract, described in docs/reference/json.md."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from typing import Final

import numpy as np

from vmjitter.model.judge import Lack
from vmjitter.model.run import ClockOffset, LoadResult, TrialStatus
from vmjitter.report.ablation import ablation
from vmjitter.report.result import RunResult, TrialResult

JSON_FORMAT: Final = 1
# Format history:
# 1: first version.  Keys may be added without a new number.

Json = dict[str, object]


def to_json(result: RunResult) -> str:
    """Show results as JSON text."""
    return json.dumps(to_data(result), indent=2, ensure_ascii=False, allow_nan=False)


def to_data(result: RunResult) -> Json:
    """Turn results into what `json.dumps` takes; times are integer nanoseconds."""
    info = result.run.info
    return {
        "format": JSON_FORMAT,
        "run": str(result.run.path),
        "vmjitter": info.vmjitter,
        "plan": info.plan,
        "title": info.title,
        "created_utc": info.created_utc,
        "state": info.state.value,
        "exit_status": result.exit_status,
        "verdict": result.outcome.value,
        "deadline_ns": info.deadline_ns,
        "max_misses_per_hour": info.max_misses_per_hour,
        "confidence_percent": info.confidence_percent,
        "pair": list(info.pair) if info.pair else None,
        "not_measured": list(result.not_measured),
        "notes": list(result.run.notes),
        "host": dict(info.host),
        "qemu": dict(info.qemu),
        "bench": info.bench,
        "simulation": dict(info.simulation),
        "ablation": plain(ablation(result)),
        "trials": [_trial(trial) for trial in result.trials],
    }


def _trial(trial: TrialResult) -> Json:
    status, summary = trial.status, trial.summary
    histogram, analysis = trial.trial.digest.histogram, trial.analysis
    return {
        "scenario": status.scenario,
        "round": status.round,
        "mitigations": list(status.mitigations),
        "title": status.title,
        "verdict": plain(trial.verdict),
        "state": status.state.value,
        "valid": trial.valid,
        "incomplete": trial.incomplete,
        "invalid": list(trial.reasons),
        "error": status.error,
        "notes": list(trial.notes),
        "conditions": list(trial.conditions),
        "deviations": list(status.deviations),
        "accel": status.accel,
        "where": status.where,
        "period_ns": trial.period_ns,
        "loops": trial.loops,
        "recorded": trial.recorded,
        "count": summary.count,
        "overruns": None if Lack.OVERRUNS in trial.trial.lacks else summary.overruns,
        "misses": summary.misses,
        "negative": summary.negative,
        "overflow": histogram.overflow,
        "resolution_ns": histogram.resolution_ns,
        "lacks": sorted(lack.value for lack in trial.trial.lacks),
        "min_ns": summary.min_ns,
        "p50_ns": summary.p50_ns,
        "p99_ns": summary.p99_ns,
        "p999_ns": summary.p999_ns,
        "max_ns": summary.max_ns,
        "paper_max_ns": status.paper_max_ns,
        "quantiles": plain(analysis.estimates),
        "convergence": plain(analysis.convergence),
        "stationarity": plain(analysis.stationarity),
        "tail": plain(analysis.tail),
        "periods": plain(analysis.periods),
        "loads": [_load(load) for load in status.loads],
        "clock": _clock(status),
        "knobs": [{**dataclasses.asdict(knob), "in_force": knob.in_force} for knob in status.knobs],
        "guest_facts": dict(status.guest_facts),
        "repeated": list(status.repeated),
    }


def plain(value: object) -> object:
    """Turn a record of the statistics into what `json.dumps` takes.

    Fields keep their names; a fraction becomes a number, what is not finite null, an array a list.
    """
    if dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value))
        return {name: plain(getattr(value, name)) for name in names}
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case tuple() | list() | frozenset() | np.ndarray():
            return [plain(item) for item in value]
        case Enum():
            return value.value
        case _:
            return _number(value)


def _number(value: object) -> object:
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, Fraction | float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _load(load: LoadResult) -> Json:
    return {
        "name": load.name,
        "side": load.side,
        "unit": load.unit,
        "rate_wanted": load.rate_wanted,
        "rate": round(load.rate, 3),
        "min_per_s": load.min_per_s,
        "longest_stall_s": load.longest_stall_s,
        "errors": load.errors,
        "state": load.state,
        "message": load.message,
    }


def _clock(status: TrialStatus) -> Json:
    probe = status.probe
    return {
        "source": probe.clocksource_before if probe else None,
        "cost_ns": probe.clock_cost_ns if probe else None,
        "resolution_ns": probe.clock_res_ns if probe else None,
        "tsc_hz": probe.tsc_hz if probe else None,
        "offset_before": _offset(status.clock_before),
        "offset_after": _offset(status.clock_after),
    }


def _offset(offset: ClockOffset | None) -> Json | None:
    return dataclasses.asdict(offset) if offset else None
