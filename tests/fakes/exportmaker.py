"""Results to export: of runs that vmjitter measured, and as they come from other tools."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from fakes.runmaker import TrialMaker, make_run, make_status
from vmjitter.model.judge import Lack, Target
from vmjitter.model.run import RUN_FORMAT, RunInfo, TrialState, TrialStatus
from vmjitter.report.exporters import EXPORTERS, Material
from vmjitter.report.result import RunResult, judge
from vmjitter.stats.digest import unordered
from vmjitter.stats.histogram import Histogram
from vmjitter.store.reader import Run, Trial, read_run
from vmjitter.store.samples import no_samples

FROM_OTHERS = frozenset({Lack.OVERRUNS, Lack.ORDER})
"""What a histogram of cyclictest cannot tell."""


def judged(directory: Path, *trials: TrialMaker, **changes: object) -> RunResult:
    """The results of a synthetic run directory."""
    return judge(read_run(make_run(directory / "run", list(trials), **changes)))


def trial_of(latency_ns: list[int], scenario: str = "kernel-io", **changes: object) -> TrialMaker:
    """A trial with exactly these latencies."""
    status = make_status(scenario, loops=len(latency_ns), **changes)
    return TrialMaker(status=status, latency_ns=np.array(latency_ns, np.int64))


def imported(
    *histograms: Histogram,
    target: Target | None = None,
    overruns: int = 0,
    lacks: frozenset[Lack] = FROM_OTHERS,
    created_utc: str = "",
) -> RunResult:
    """Results of which only histograms are known, as those of another tool."""
    target = target or Target(deadline_ns=None)
    trials = tuple(
        _foreign(f"thread-{number}", each, overruns, lacks)
        for number, each in enumerate(histograms)
    )
    info = RunInfo(
        format=RUN_FORMAT,
        vmjitter="0.1.0",
        plan="cyclictest",
        title="cyclictest",
        created_utc=created_utc,
        state=TrialState.DONE,
        deadline_ns=target.deadline_ns,
        max_misses_per_hour=target.max_misses_per_hour,
        confidence_percent=target.confidence_percent,
        pair=None,
        scenarios=tuple(trial.status.scenario for trial in trials),
        bench="import",
    )
    path = Path("cyclictest.json")
    return judge(Run(path=path, info=info, plan_toml="", trials=trials, notes=()))


def _foreign(name: str, histogram: Histogram, overruns: int, lacks: frozenset[Lack]) -> Trial:
    status = TrialStatus(
        scenario=name,
        title=name,
        state=TrialState.DONE,
        loops=histogram.total,
        period_ns=1_000_000,
        where="",
    )
    return Trial(
        path=Path("cyclictest.json"),
        status=status,
        samples=no_samples(),
        digest=unordered(histogram, period_ns=1_000_000, overruns=overruns),
        loads=(),
        notes=(),
        readable=True,
        lacks=lacks,
    )


def export(name: str, result: RunResult, *, histogram_max_us: int | None = None) -> str:
    """What an exporter of text writes."""
    return export_bytes(name, result, histogram_max_us=histogram_max_us).decode()


def export_bytes(name: str, result: RunResult, *, histogram_max_us: int | None = None) -> bytes:
    """What an exporter writes."""
    stream = io.BytesIO()
    EXPORTERS[name].write(Material(result=result, histogram_max_us=histogram_max_us), stream)
    return stream.getvalue()
