"""What all exporters share: what they are given, and how text becomes bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np

from vmjitter.errors import UsageError
from vmjitter.model.judge import Lack
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.stats.histogram import Int64s
from vmjitter.stats.verdict import Verdict

_BUFFER_CHARS: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What an exporter writes.

    Attributes:
        result: the run, judged; only the trials that are wanted are in it.
        histogram_max_us: so many buckets of 1 us; None: as many as are needed.
    """

    result: RunResult
    histogram_max_us: int | None = None


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """One format.

    Attributes:
        name: as in ``--format``, e.g. "cyclictest-json".
        what: one line for the help.
        suffix: how its files end.
        write: writes everything into a stream that is open for bytes.  Never closes it.
        binary: it makes no sense on a terminal.
        bounded: it has as many buckets as `Material.histogram_max_us` says.
    """

    name: str
    what: str
    suffix: str
    write: Callable[[Material, BinaryIO], None]
    binary: bool = False
    bounded: bool = False


def text(render: Callable[[Material], Iterable[str]]) -> Callable[[Material, BinaryIO], None]:
    """Make the ``write`` of a format from a function that gives its text, piece by piece."""

    def write(material: Material, stream: BinaryIO) -> None:
        pieces: list[str] = []
        size = 0
        for piece in render(material):
            pieces.append(piece)
            size += len(piece)
            if size > _BUFFER_CHARS:
                stream.write("".join(pieces).encode())
                pieces, size = [], 0
        stream.write("".join(pieces).encode())

    return write


def verdict_of(trial: TrialResult) -> Verdict:
    """The verdict on a trial: the one place where exporters take it from."""
    return trial.verdict


def overruns_of(trial: TrialResult) -> int | None:
    """Activations that were missed, also where only their number is known.

    None if the source does not count them: that is not the same as none.
    """
    digest = trial.trial.digest
    missed = digest.activations - digest.histogram.total
    return None if not missed and Lack.OVERRUNS in trial.trial.lacks else missed


def all_ordered(result: RunResult) -> bool:
    """Whether each activation of the trials is known; if not, only their histograms are.

    Raises:
        UsageError: it is so for some trials, and not for others: they do not fit into one table.
    """
    by_kind: dict[bool, list[str]] = {}
    for trial in result.trials:
        by_kind.setdefault(trial.trial.digest.ordered, []).append(trial.scenario)
    if len(by_kind) > 1:
        raise UsageError(
            f"{', '.join(by_kind[True])}: each wake-up is known; "
            f"{', '.join(by_kind[False])}: only a histogram is; one table cannot hold both",
            hint="choose those of one kind with --scenario",
        )
    return by_kind.keys() != {False}


def rechunk(chunks: Iterable[Int64s], size: int) -> Iterator[Int64s]:
    """The same values, ``size`` at a time; the last chunk may be shorter."""
    rest = np.empty(0, np.int64)
    for chunk in chunks:
        whole = np.concatenate([rest, chunk]) if len(rest) else chunk
        cut = len(whole) // size * size
        yield from whole[:cut].reshape(-1, size)
        rest = whole[cut:]
    if len(rest):
        yield rest
