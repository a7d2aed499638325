"""The results of a run as JSON: a stable contract, described in docs/reference/json.md."""

from __future__ import annotations

import dataclasses
import json
from typing import Final

from vmjitter.model.run import ClockOffset, LoadResult, TrialStatus
from vmjitter.report.result import RunResult, TrialResult

JSON_FORMAT: Final = 1
# Format history:
# 1: first version.  Keys may be added without a new number.

Json = dict[str, object]


def to_json(result: RunResult) -> str:
    """Show results as JSON text."""
    return json.dumps(to_data(result), indent=2, ensure_ascii=False)


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
        "deadline_ns": info.deadline_ns,
        "pair": list(info.pair) if info.pair else None,
        "not_measured": list(result.not_measured),
        "notes": list(result.run.notes),
        "host": dict(info.host),
        "qemu": dict(info.qemu),
        "bench": info.bench,
        "simulation": dict(info.simulation),
        "trials": [_trial(trial) for trial in result.trials],
    }


def _trial(trial: TrialResult) -> Json:
    status, summary = trial.status, trial.summary
    return {
        "scenario": status.scenario,
        "title": status.title,
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
        "overruns": summary.overruns,
        "misses": summary.misses,
        "negative": summary.negative,
        "min_ns": summary.min_ns,
        "p50_ns": summary.p50_ns,
        "p99_ns": summary.p99_ns,
        "p999_ns": summary.p999_ns,
        "max_ns": summary.max_ns,
        "paper_max_ns": status.paper_max_ns,
        "loads": [_load(load) for load in status.loads],
        "clock": _clock(status),
        "knobs": [{**dataclasses.asdict(knob), "in_force": knob.in_force} for knob in status.knobs],
        "guest_facts": dict(status.guest_facts),
        "repeated": list(status.repeated),
    }


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
