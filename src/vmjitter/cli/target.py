"""The options that say what a result is held against; the same for every verb that judges."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from vmjitter.model.judge import Target, checked
from vmjitter.units import parse_duration

Deadline = Annotated[
    str | None, typer.Option("--deadline", help="A later wake-up is a miss, e.g. 5ms.")
]
MaxMisses = Annotated[
    float | None,
    typer.Option("--max-misses-per-hour", help="Allowed misses; without it any miss fails."),
]
Confidence = Annotated[
    float | None, typer.Option("--confidence", help="Of every bound, in percent. [default: 95]")
]

NO_TARGET = Target(deadline_ns=None)


def retarget(
    before: Target, deadline: str | None, max_misses: float | None, confidence: float | None
) -> Target:
    """What the options make of a target that was fixed before.

    Raises:
        UsageError: no measurement can meet it.
    """
    changes: dict[str, object] = {
        "deadline_ns": None if deadline is None else parse_duration(deadline),
        "max_misses_per_hour": max_misses,
        "confidence_percent": confidence,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return checked(dataclasses.replace(before, **given))  # type: ignore[arg-type]
