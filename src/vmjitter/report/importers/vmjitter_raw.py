"""The raw stream of vmjitter's own probe: `samples.raw` of a trial that was not sealed yet.

`vmjitter report` reads it within its run directory, with the proofs of its measurement.  Here it is
a file alone: which machine it is of, and whether it is valid, is not in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from vmjitter.errors import DataError
from vmjitter.guest.layout import STREAM_MAGIC
from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported, Importer, Int64s, Series, refuse
from vmjitter.report.importers.reading import DAMAGED, MAX_NS
from vmjitter.stats.histogram import MISSED, histogram_of
from vmjitter.store.samples import SampleArrays, read_raw_samples


def matches(head: bytes, _name: str) -> bool:
    """Whether a file begins with the stream's magic number."""
    return head.startswith(STREAM_MAGIC)


def read(content: bytes, place: str) -> Imported:
    """Read such a file.

    Raises:
        DataError: it is damaged, of another version, or holds no wake-up.
    """
    notes: list[str] = []
    samples = _samples(content, place, notes)
    latency_ns = samples.latency_ns
    _check(samples, place)
    missed = latency_ns == MISSED
    facts = {"clock": samples.clock, "activations": str(len(latency_ns))}
    if samples.tsc_hz:
        facts["tsc_hz"] = str(samples.tsc_hz)
    if samples.loops and len(latency_ns) < samples.loops:
        notes.append(f"{len(latency_ns)} of {samples.loops} planned activations are in it")
    series = Series(
        name="probe",
        title="probe",
        period_ns=samples.period_ns,
        histogram=histogram_of(latency_ns[~missed]),
        latency_ns=latency_ns,
        facts=facts,
        lacks=frozenset() if samples.period_ns else frozenset({Lack.PERIOD}),
        notes=tuple(notes),
    )
    return Imported(
        tool="vmjitter",
        series=(series,),
        notes=("whether the measurement was valid stands in its run directory, not in this file",),
    )


def _samples(content: bytes, place: str, notes: list[str]) -> SampleArrays:
    """Let the store read it, which reads files; its words then name the place."""
    with tempfile.TemporaryDirectory(prefix="vmjitter-") as scratch:
        file = Path(scratch) / "samples.raw"
        try:
            file.write_bytes(content)
            samples = read_raw_samples(file, notes)
        except OSError as error:
            why = f"it cannot be copied to {scratch}: {error.strerror}"
            raise refuse(place, None, why, "set TMPDIR to a directory with room") from error
        except DataError as error:
            message = error.message.replace(str(file), place)
            raise DataError(message, hint=error.hint) from error
    notes[:] = [note.replace(str(file), place) for note in notes]
    return samples


def _check(samples: SampleArrays, place: str) -> None:
    latency_ns = samples.latency_ns
    if not len(latency_ns):
        raise refuse(place, None, "it holds no activation", DAMAGED)
    if samples.period_ns > MAX_NS:
        raise refuse(place, None, f"its period is {samples.period_ns} ns", DAMAGED)
    impossible = _impossible(latency_ns)
    if impossible is not None:
        why = f"record {impossible + 1} has a latency of {latency_ns[impossible]} ns"
        raise refuse(place, None, why, DAMAGED)


def _impossible(latency_ns: Int64s) -> int | None:
    found = (latency_ns > MAX_NS) | ((latency_ns < -MAX_NS) & (latency_ns != MISSED))
    return int(np.argmax(found)) if found.any() else None


IMPORTER: Final = Importer(
    name="vmjitter-raw",
    what="samples.raw of vmjitter's own probe",
    matches=matches,
    read=read,
)
