"""The page of a run: how long it takes to write and how large it is.

    .venv/bin/python -m benchmarks.report_page
    .venv/bin/python -m benchmarks.report_page --run runs/20260131-142530-paper
    .venv/bin/python -m benchmarks.report_page --trials 1 --activations 100000000

Without ``--run``, the latencies are made up: a gamma law whose scatter is the first column, with
rare late wake-ups of exponential length.  What a page weighs hangs on the scatter, since noise
cannot be compressed.  Reading, judging and drawing are timed in a new process each, as a user
starts them; the time to import our modules and the libraries is part of the whole.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from benchmarks.common import Row, host_conditions, parser, positive, scratch, show

from vmjitter.model.run import RUN_FORMAT, RunInfo, TrialState, TrialStatus
from vmjitter.store.rundir import RunWriter
from vmjitter.store.samples import SAMPLES_FILE, SampleArrays, write_parquet_samples

PERIOD_NS = 1_000_000
SCATTERS_NS = (1_500, 10_000, 50_000)
_MEAN = 3.0
"""Mean latency, in scatters."""


def main() -> int:
    """Measure and print the tables."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--run", type=Path, help="a run directory instead of made-up ones")
    options.add_argument("--trials", type=positive, default=4)
    options.add_argument("--activations", type=positive, default=240_000, help="of each trial")
    options.add_argument("--repeat", type=positive, default=3, help="the fastest is shown")
    options.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.once:
        print(json.dumps(once(arguments.once)))
        return 0
    show(host_conditions(), {"report.html": rows(arguments)}, as_json=arguments.json)
    return 0


def rows(arguments: argparse.Namespace) -> list[Row]:
    """One row per run."""
    if arguments.run:
        return [row(str(arguments.run), arguments.run, arguments.repeat)]
    found = []
    for scatter_ns in SCATTERS_NS:
        with scratch() as directory:
            run = made_up(directory / "run", scatter_ns, arguments.trials, arguments.activations)
            found.append(row(f"{scatter_ns / 1000:g} us", run, arguments.repeat))
    return found


def row(name: str, run: Path, repeat: int) -> Row:
    """Times of the fastest of several processes."""
    command = [sys.executable, "-m", "benchmarks.report_page", "--once", str(run)]
    best: dict[str, float] = {}
    for _ in range(repeat):
        begun = time.perf_counter()
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        whole = time.perf_counter() - begun
        if not best or whole < best["whole"]:
            best = {**json.loads(answer.stdout), "whole": whole}
    return {
        "scatter": name,
        "activations": int(best["activations"]),
        "read (s)": round(best["read"], 2),
        "statistics (s)": round(best["statistics"], 2),
        "page (s)": round(best["page"], 2),
        "whole process (s)": round(best["whole"], 2),
        "its CPU time (s)": round(best["cpu"], 2),
        "memory (MiB)": int(best["memory_kib"]) >> 10,
        "page (bytes)": int(best["bytes"]),
        "per activation": round(best["bytes"] / max(1, best["activations"]), 2),
    }


def once(run: Path) -> dict[str, float]:
    """Read a run, compute what the page shows, write it."""
    from vmjitter.report.html.page import render_page  # noqa: PLC0415 - the process is measured
    from vmjitter.report.result import judge  # noqa: PLC0415
    from vmjitter.store.reader import read_run  # noqa: PLC0415

    begun = time.perf_counter()
    result = judge(read_run(run))
    after_reading = time.perf_counter()
    for trial in result.trials:
        one = trial.analysis
        _ = (one.verdict, one.estimates, one.convergence, one.stationarity, one.tail, one.periods)
    after_statistics = time.perf_counter()
    text = render_page(result)
    return {
        "read": after_reading - begun,
        "statistics": after_statistics - after_reading,
        "page": time.perf_counter() - after_statistics,
        "cpu": time.process_time(),
        "bytes": len(text.encode()),
        "activations": sum(trial.recorded for trial in result.trials),
        "memory_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def made_up(path: Path, scatter_ns: int, trials: int, activations: int) -> Path:
    """Write a run of made-up latencies."""
    names = tuple(f"trial-{number}" for number in range(1, trials + 1))
    info = RunInfo(
        format=RUN_FORMAT,
        vmjitter="benchmark",
        plan="benchmark",
        title="Made-up latencies",
        created_utc="",
        state=TrialState.DONE,
        deadline_ns=5_000_000,
        pair=names[:2] if trials > 1 else None,  # type: ignore[arg-type]
        scenarios=names,
    )
    run = RunWriter.create(path, info, "")
    for number, name in enumerate(names, 1):
        status = TrialStatus(
            scenario=name,
            title=name,
            state=TrialState.DONE,
            loops=activations,
            period_ns=PERIOD_NS,
            where="guest",
        )
        with run.start_trial(number, status) as writer:
            latency_ns = latencies(activations, scatter_ns, seed=number)
            write_parquet_samples(writer.path / SAMPLES_FILE, samples(latency_ns), {})
    return path


def samples(latency_ns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> SampleArrays:
    """Samples without a TSC."""
    return SampleArrays(
        latency_ns=latency_ns,
        tsc=np.zeros(len(latency_ns), np.uint64),
        period_ns=PERIOD_NS,
        t0_ns=0,
        tsc_hz=0,
        loops=len(latency_ns),
        clock="CLOCK_MONOTONIC",
    )


def latencies(
    count: int, scatter_ns: int, *, seed: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A gamma law, and one wake-up in a thousand late."""
    random = np.random.default_rng(seed)
    found = np.empty(count, np.int64)
    for start in range(0, count, 1 << 22):
        part = random.gamma(_MEAN**2, scatter_ns / _MEAN, min(1 << 22, count - start))
        late = random.random(len(part)) < 0.001
        part[late] += random.exponential(400_000, int(late.sum()))
        found[start : start + len(part)] = part
    return found


if __name__ == "__main__":
    raise SystemExit(main())
