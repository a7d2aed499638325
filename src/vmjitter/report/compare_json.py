"""A comparison as JSON; described in docs/method/compare.md."""

from __future__ import annotations

import json
from typing import Final

from vmjitter.report.comparable import Compared, Difference, Group, Member
from vmjitter.report.compare_text import VERDICTS, curve_sentences, missed_sentence, sentence
from vmjitter.report.json_out import plain
from vmjitter.stats.comparison import Row, TrialFigures
from vmjitter.stats.survival import Curve, Curves

COMPARISON_FORMAT: Final = 1
# Format history:
# 1: first version.  Keys may be added without a new number.

Json = dict[str, object]


def to_json(compared: Compared) -> str:
    """Show a comparison as JSON text."""
    return json.dumps(to_data(compared), indent=2, ensure_ascii=False, allow_nan=False)


def to_data(compared: Compared) -> Json:
    """Turn a comparison into what `json.dumps` takes; times are integer nanoseconds.

    Differences and limits of them are numbers, since a median of an even number of pairs lies
    between two integers; a ratio is after by before.
    """
    comparison, conditions = compared.comparison, compared.conditions
    return {
        "format": COMPARISON_FORMAT,
        "verdict": VERDICTS[compared.change].lower(),
        "sentence": sentence(compared),
        "exit_status": compared.exit_status,
        "confidence_percent": comparison.confidence_percent,
        "deadline_ns": compared.target.deadline_ns,
        "primary": comparison.primary,
        "blocks": comparison.blocks,
        "smallest_p": comparison.smallest_p,
        "trials_needed": comparison.trials_needed,
        "order": compared.order,
        "before": _group(compared.before, comparison.before),
        "after": _group(compared.after, comparison.after),
        "figures": [_row(row) for row in comparison.rows],
        "counts": plain(comparison.counts),
        "curves": _curves(comparison.curves),
        "curve_sentences": curve_sentences(compared),
        "missed_sentence": missed_sentence(comparison),
        "allowed": [_difference(each) for each in compared.allowed],
        "compared": [_difference(each) for each in conditions.compared],
        "not_told": list(conditions.unknown),
        "conditions": list(compared.words),
        "notes": list(compared.notes),
    }


def _group(group: Group, figures: tuple[TrialFigures, ...]) -> Json:
    return {
        "label": group.label,
        "trials": [
            {**_member(member), "wake_ups": one.wake_ups, "overruns": one.overruns}
            for member, one in zip(group.members, figures, strict=True)
        ],
        "left_out": [
            {
                **_member(member),
                "reasons": [*member.trial.reasons] or [member.trial.incomplete_text],
            }
            for member in group.excluded
        ],
    }


def _member(member: Member) -> Json:
    trial = member.trial
    return {
        "run": str(member.run.path),
        "trial": trial.trial.path.name,
        "scenario": trial.scenario,
        "round": trial.status.round,
    }


def _row(row: Row) -> Json:
    unit = "ns" if row.metric.is_time else "per_hour"
    return {
        "figure": row.metric.value,
        "unit": unit,
        "tested": row.adjusted is not None,
        "before": list(row.before),
        "after": list(row.after),
        "difference": plain(row.difference),
        "ratio": plain(row.ratio),
        "p_value": row.p_value,
        "adjusted_p_value": row.adjusted,
        "change": row.change.value,
        "lacking": row.lacking,
    }


def _curves(found: Curves | None) -> Json | None:
    if found is None:
        return None
    return {
        "latency_ns": found.latency_ns.tolist(),
        "resolution_ns": found.resolution_ns,
        "before": _curve(found.before),
        "after": _curve(found.after),
        "dominance": plain(found.dominance),
        "crossings": plain(found.crossings),
    }


def _curve(curve: Curve) -> Json:
    return {
        "share": curve.share.tolist(),
        "low": curve.low.tolist(),
        "high": curve.high.tolist(),
        "by_trials": curve.by_trials,
    }


def _difference(difference: Difference) -> Json:
    return {
        "name": difference.name,
        "what": difference.what,
        "before": difference.before,
        "after": difference.after,
    }
