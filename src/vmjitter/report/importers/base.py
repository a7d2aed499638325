"""What an importer makes of another tool's file.

An importer is pure: text or bytes in, `Imported` out.  It keeps what the format knows and names
what it does not know; it never guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.stats.histogram import Histogram

Int64s = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One thread, CPU or context of another tool's result; it becomes a trial.

    Attributes:
        name: short and unique in its file, e.g. "thread-0", "cpu-3-irq".
        title: in words, e.g. "thread 0 on CPU 9".
        period_ns: 0 if the format does not tell.
        latency_ns: in their order if the format has it (`MISSED` for a missed activation), else
            None; then ``histogram`` has everything.
        histogram: of all wake-ups.
        overruns: missed activations, if the format counts them without saying where; else None.
        facts: what else the format knows of it, as text by name: "thread", "cpu", "priority",
            "cycles", "avg_us" and so on.
        lacks: what the format cannot tell.
        notes: what was strange: a cut line, a sentinel, samples that were lost.
    """

    name: str
    title: str
    period_ns: int
    histogram: Histogram
    latency_ns: Int64s | None = None
    overruns: int | None = None
    facts: dict[str, str] = field(default_factory=dict)
    lacks: frozenset[Lack] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Imported:
    """Everything that a file says.

    Attributes:
        tool: the program that measured, e.g. "cyclictest", "rtla timerlat hist".
        command: its command line, or empty.
        created_utc: when it was measured, in ISO 8601, or empty.
        facts: of the machine, as text by name ("kernel", "machine", ...).
        notes: what was strange in the file as a whole.
    """

    tool: str
    series: tuple[Series, ...]
    command: str = ""
    created_utc: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Importer:
    """One format.

    Attributes:
        name: as in ``--format``, e.g. "cyclictest-json".
        what: one line for the help.
        matches: from the first 64 KiB of a file (bytes) and its name: is it of this format?  Must
            be cheap and must never raise.
        read: from the whole content and the name of the place (for errors) to the result.
            Raises `DataError` that names place, line and reason.
    """

    name: str
    what: str
    matches: Callable[[bytes, str], bool]
    read: Callable[[bytes, str], Imported]


def refuse(place: str, line: int | None, why: str, hint: str) -> DataError:
    """The error for a file that cannot be imported; ``line`` counts from 1."""
    where = f"{place}, line {line}" if line is not None else place
    return DataError(f"{where}: {why}", hint=hint)
