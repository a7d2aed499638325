"""Run directories with a trace: what `vmjitter explain` reads."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fakes.runmaker import PERIOD_NS, T0_NS, TrialMaker, make_proof, make_run, make_status
from fakes.tracemaker import OFFSET_NS, TraceMaker
from fakes.tracescene import BOUND_NS
from vmjitter.guest.layout import MISSED
from vmjitter.model.run import ClockOffset
from vmjitter.store.rundir import TRIALS_DIR

PLAN = """[scenario.kernel-io]
disk = "ide"
network = "e1000"
knobs = ["mem-lock"]
"""


def new_trace() -> TraceMaker:
    """A trace whose first wake-up is planned for the probe's activation 0."""
    return TraceMaker(now=T0_NS - OFFSET_NS - 1, period_ns=PERIOD_NS, phase_ns=_phase())


def _phase() -> int:
    return (T0_NS - OFFSET_NS) % PERIOD_NS


def explained_run(
    path: Path,
    maker: TraceMaker,
    *,
    packed: bool = False,
    traced: bool = True,
    others: Mapping[str, TraceMaker] | None = None,
    **info: object,
) -> Path:
    """Write the run that a trace was recorded of.

    Args:
        path: where to.
        maker: the trace; its wake-ups become the samples.
        packed: the trace files are compressed.
        traced: without it there are no trace files.
        others: further scenarios, each with its trace.
        info: changes of ``run.json``.
    """
    makers = {"kernel-io": maker, **(others or {})}
    made = make_run(path, [_trial(name, one) for name, one in makers.items()], **info)
    (made / "plan.toml").write_text(PLAN)
    if traced:
        for number, (name, one) in enumerate(makers.items(), 1):
            write_trace(made / TRIALS_DIR / f"{number:02}-{name}" / "trace", one, packed=packed)
    return made


def _trial(scenario: str, maker: TraceMaker) -> TrialMaker:
    last = (maker.windows[-1][0] + OFFSET_NS - T0_NS) // PERIOD_NS
    latency = np.full(last + 1, MISSED, np.int64)
    for planned, late_ns in maker.windows:
        latency[(planned + OFFSET_NS - T0_NS) // PERIOD_NS] = late_ns
    before = ClockOffset(offset_ns=OFFSET_NS, bound_ns=BOUND_NS, host_ns=1000, rounds=100)
    status = make_status(
        scenario,
        loops=len(latency),
        accel="kvm",
        conditions=(),
        probe=replace(make_proof(), nivcsw=3),
        clock_before=before,
        clock_after=replace(before, host_ns=10**11),
    )
    return TrialMaker(status=status, latency_ns=latency)


def write_trace(place: Path, maker: TraceMaker, *, packed: bool = False) -> None:
    """Write the files of a trace directory."""
    place.mkdir()
    for name, text in maker.files().items():
        if packed and name != "meta.json":
            (place / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            (place / name).write_text(text)
