"""The schema of the JSON results, made from the records that are printed.

``script/docs`` writes it to docs/reference/report.schema.json; JSON Schema, draft 2020-12.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from typing import Final

import numpy as np

from vmjitter.model.run import ClockOffset, KnobChange
from vmjitter.report.ablation import AblationResult
from vmjitter.report.json_out import JSON_FORMAT
from vmjitter.stats.convergence import Convergence
from vmjitter.stats.periodicity import Periodicity
from vmjitter.stats.quantiles import Estimate
from vmjitter.stats.stationarity import Stationarity
from vmjitter.stats.tail import Projection
from vmjitter.stats.verdict import Outcome, Verdict

Schema = dict[str, object]

_PLAIN: Final[dict[object, Schema]] = {
    int: {"type": "integer"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    # What is not finite is null.
    float: {"type": ["number", "null"]},
    Fraction: {"type": "number"},
    type(None): {"type": "null"},
}

_RUN: Final[dict[str, object]] = {
    "run": str,
    "vmjitter": str,
    "plan": str,
    "title": str,
    "created_utc": str,
    "state": str,
    "exit_status": int,
    "verdict": Outcome,
    "deadline_ns": int | None,
    "max_misses_per_hour": float | None,
    "confidence_percent": float,
    "pair": tuple[str, str] | None,
    "not_measured": tuple[str, ...],
    "notes": tuple[str, ...],
    "host": dict[str, str],
    "qemu": dict[str, str],
    "bench": str,
    "simulation": dict[str, str],
    "ablation": AblationResult | None,
}

_TRIAL: Final[dict[str, object]] = {
    **dict.fromkeys(("scenario", "title", "state", "error", "accel", "where"), str),
    **dict.fromkeys(("round", "period_ns", "loops", "recorded", "count"), int),
    **dict.fromkeys(("negative", "overflow", "resolution_ns"), int),
    **dict.fromkeys(("valid", "incomplete"), bool),
    **dict.fromkeys(("invalid", "notes", "conditions", "deviations"), tuple[str, ...]),
    **dict.fromkeys(("lacks", "repeated", "mitigations"), tuple[str, ...]),
    **dict.fromkeys(("min_ns", "p50_ns", "p99_ns", "p999_ns", "max_ns"), int | None),
    **dict.fromkeys(("overruns", "misses", "paper_max_ns"), int | None),
    "guest_facts": dict[str, str],
    "verdict": Verdict,
    "quantiles": tuple[Estimate, ...],
    "convergence": Convergence | None,
    "stationarity": Stationarity | None,
    "tail": Projection,
    "periods": Periodicity | None,
}

_LOAD: Final[dict[str, object]] = {
    **dict.fromkeys(("name", "side", "unit", "state", "message"), str),
    **dict.fromkeys(("rate_wanted", "min_per_s", "longest_stall_s", "errors"), int),
    "rate": float,
}

_CLOCK: Final[dict[str, object]] = {
    "source": str | None,
    **dict.fromkeys(("cost_ns", "resolution_ns", "tsc_hz"), int | None),
    **dict.fromkeys(("offset_before", "offset_after"), ClockOffset | None),
}


def report_schema() -> Schema:
    """The schema; keys that it does not name are allowed, since a later version may have more."""
    defs: dict[str, Schema] = {}
    trial = _object(_TRIAL, defs)
    properties = typing.cast("dict[str, Schema]", trial["properties"])
    properties["loads"] = {"type": "array", "items": _object(_LOAD, defs)}
    properties["clock"] = _object(_CLOCK, defs)
    knob = {**typing.get_type_hints(KnobChange), "in_force": bool}
    properties["knobs"] = {"type": "array", "items": _object(knob, defs)}
    run = _object(_RUN, defs)
    properties = typing.cast("dict[str, Schema]", run["properties"])
    properties["format"] = {"const": JSON_FORMAT}
    properties["trials"] = {"type": "array", "items": {"$ref": "#/$defs/Trial"}}
    defs["Trial"] = _closed(trial)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Results of a vmjitter run",
        "description": "What `vmjitter report --json` prints; see docs/reference/json.md.",
        **_closed(run),
        "$defs": dict(sorted(defs.items())),
    }


def _closed(schema: Schema) -> Schema:
    """Every property that is named is there."""
    properties = typing.cast("dict[str, Schema]", schema["properties"])
    return {
        **schema,
        "properties": dict(sorted(properties.items())),
        "required": sorted(properties),
    }


def _object(fields: Mapping[str, object], defs: dict[str, Schema]) -> Schema:
    properties = {name: _schema(hint, defs) for name, hint in fields.items()}
    return _closed({"type": "object", "properties": properties})


def _schema(hint: object, defs: dict[str, Schema]) -> Schema:
    """The schema of one type; records go to ``defs`` under their names."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if hint.__name__ not in defs:
            defs[hint.__name__] = {}  # a record may hold itself
            defs[hint.__name__] = _described(_object(typing.get_type_hints(hint), defs), hint)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return _compound(hint, defs)


def _described(schema: Schema, record: type) -> Schema:
    """Say what a record and its fields mean, in the words of its docstring."""
    text = inspect.getdoc(record) or ""
    head, _, rest = text.partition("\nAttributes:\n")
    meanings = {
        name: _words(meaning)
        for name, meaning in re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", rest, re.MULTILINE)
    }
    properties = typing.cast("dict[str, Schema]", schema["properties"])
    named = {
        name: {**value, "description": meanings[name]} if name in meanings else value
        for name, value in properties.items()
    }
    return {"description": _words(head), **schema, "properties": named}


def _words(text: str) -> str:
    """One line, in the words of JSON."""
    return re.sub(r"\bNone\b", "null", " ".join(text.split())).replace("``", "`")


def _compound(hint: object, defs: dict[str, Schema]) -> Schema:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(each, defs) for each in inner]}
    if origin is np.ndarray:
        return {"type": "array", "items": {"type": "number"}}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(inner[1], defs)}
    if origin in (tuple, list, frozenset) and (origin is not tuple or inner[-1] is Ellipsis):
        return {"type": "array", "items": _schema(inner[0], defs)}
    if origin is tuple:
        items = [_schema(each, defs) for each in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    raise TypeError(f"no schema for {hint!r}")
