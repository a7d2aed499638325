"""From Parquet to verdict and quantiles: samples per second on one core, and memory.

Run it from the repository's root:

    .venv/bin/python -m benchmarks.judge_speed --help

DuckDB and Polars compute the same quantiles from the same file, if they are there.  They are no
dependencies of vmjitter; give them a virtual environment of their own:

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install duckdb polars pyarrow
    .venv/bin/python -m benchmarks.judge_speed --peers /tmp/peers/bin/python

docs/method/performance.md has the method and figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from benchmarks.common import Row, host_conditions, median, parser, positive, scratch, show
from benchmarks.judge_speed_peers import peak_mib

from vmjitter import __version__
from vmjitter.errors import CommandFailed
from vmjitter.guest.layout import MISSED, STREAM_MAGIC, VERSION, StreamHeader
from vmjitter.model.judge import Target
from vmjitter.model.run import RUN_FORMAT, RunInfo, TrialState, TrialStatus
from vmjitter.report.result import TrialResult, judge
from vmjitter.store.reader import read_run
from vmjitter.store.rundir import RAW_SAMPLES_FILE, RunWriter, TrialWriter
from vmjitter.store.samples import (
    SAMPLES_FILE,
    open_parquet_samples,
    read_raw_samples,
    write_parquet_samples,
)

SHARES: Final = ("0.5", "0.99", "0.999", "0.9999", "0.99999")
PERIOD_NS: Final = 1_000_000
TSC_HZ: Final = 2_596_122_130
TARGET: Final = Target(deadline_ns=5_000_000, max_misses_per_hour=1000.0)
AIM_PER_S: Final = 50e6
AIM_MIB: Final = 1e9 / (1 << 20)
_RECORDS: Final = 1 << 20
_NOT_THERE: Final = 3
_PEERS_SCRIPT: Final = Path(__file__).with_name("judge_speed_peers.py")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Somebody who answers from the file; ``argv`` starts a process of its own for it."""

    name: str
    does: str
    argv: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 whatever the figures are."""
    got = _arguments(arguments)
    if got.child:
        return child(got.child, got.run)
    with _run_directory(got) as run:
        file = next(run.glob(f"trials/*/{SAMPLES_FILE}"))
        results = race(contenders(run, file, got.peers), got.repeat, got.cpu)
        rows = open_parquet_samples(file).count
        tables = {
            f"{rows} samples, one core": [_speed(who, found, rows) for who, found in results],
            "latencies in ns": [_values(who, found) for who, found in results if _answers(found)],
        }
        show(_conditions(file, rows, got), tables, as_json=got.json)
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("Samples per second, and memory, from Parquet to verdict and quantiles.")
    made.add_argument("-n", "--samples", type=positive, default=100_000_000, help="activations")
    made.add_argument("--repeat", type=positive, default=5, help="processes of each kind")
    made.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="run there")
    made.add_argument("--peers", default=sys.executable, help="Python with duckdb and polars")
    made.add_argument("--run", type=Path, help="run directory; made if it is not there, and kept")
    made.add_argument("--child", choices=tuple(_CHILDREN), help=argparse.SUPPRESS)
    return made.parse_args(arguments)


def contenders(run: Path, file: Path, peers: str) -> list[Contender]:
    """Everybody, in the order of the table."""
    ours = (sys.executable, "-m", "benchmarks.judge_speed", "--run", str(run), "--child")
    theirs = (peers, str(_PEERS_SCRIPT))
    query = (str(file), "latency_ns", *SHARES)
    return [
        Contender(name="pyarrow", does="read the latencies", argv=(*ours, "read")),
        Contender(name="vmjitter", does="verdict and quantiles", argv=(*ours, "verdict")),
        Contender(name="vmjitter", does="all of the analysis", argv=(*ours, "all")),
        Contender(name="DuckDB", does="quantiles", argv=(*theirs, "duckdb", *query)),
        Contender(name="Polars", does="quantiles", argv=(*theirs, "polars", *query)),
    ]


Found = list[dict[str, Any]]


def race(everybody: list[Contender], repeat: int, cpu: int) -> list[tuple[Contender, Found]]:
    """Everybody in turn, so many times, each time in a new process on that CPU."""
    results: list[tuple[Contender, Found]] = [(who, []) for who in everybody]
    for _ in range(repeat):
        for who, found in results:
            answer = _start(who, cpu)
            if answer is not None:
                found.append(answer)
    return results


def _start(who: Contender, cpu: int) -> dict[str, Any] | None:
    """Its answer, or None if it is not installed.

    Raises:
        CommandFailed: it ended with an error.
    """
    argv = ("taskset", "--cpu-list", str(cpu), *who.argv)
    done = subprocess.run(argv, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode == _NOT_THERE:
        return None
    if done.returncode:
        raise CommandFailed(f"{who.name} ended with status {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def child(what: str, run: Path) -> int:
    """Answer once, in this process, and print how long it took."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    begin, cpu = time.perf_counter(), time.process_time()
    values = _CHILDREN[what](run)
    took = {"wall_s": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}
    print(json.dumps({**took, "peak_mib": peak_mib(), "version": __version__, "values": values}))
    return 0


def _only_read(run: Path) -> list[int]:
    file = next(run.glob(f"trials/*/{SAMPLES_FILE}"))
    for _ in open_parquet_samples(file).chunks():
        pass
    return []


def _verdict(run: Path) -> list[int]:
    return _answer(_judged(run))


def _all(run: Path) -> list[int]:
    result = _judged(run)
    found = result.analysis
    _ = (found.convergence, found.stationarity, found.tail, found.periods)
    return _answer(result)


def _judged(run: Path) -> TrialResult:
    return judge(read_run(run, TARGET)).trials[0]


def _answer(result: TrialResult) -> list[int]:
    if not result.verdict.sentence or not result.analysis.estimates:
        raise ValueError("no verdict")
    histogram = result.trial.digest.histogram
    quantiles = [histogram.quantile(Fraction(share)) for share in SHARES]
    return [found.value_ns for found in quantiles if found] + [histogram.max_ns or 0]


_CHILDREN: Final[dict[str, Callable[[Path], list[int]]]] = {
    "read": _only_read,
    "verdict": _verdict,
    "all": _all,
}


def _speed(who: Contender, found: Found, rows: int) -> Row:
    name = f"{who.name} {found[0]['version']}" if found and _answers(found) else who.name
    if not found:
        return {"who": name, "does": f"{who.does}: not installed"}
    cpu_s = median([one["cpu_s"] for one in found])
    return {
        "who": name,
        "does": who.does,
        "wall s": median([one["wall_s"] for one in found]),
        "CPU s": cpu_s,
        "CPU s, best": min(one["cpu_s"] for one in found),
        "M samples per CPU s": rows / cpu_s / 1e6,
        "peak MiB": round(max(one["peak_mib"] for one in found)),
    }


def _answers(found: Found) -> bool:
    return bool(found and found[0]["values"])


def _values(who: Contender, found: Found) -> Row:
    answers = {tuple(one["values"]) for one in found}
    if len(answers) != 1:
        raise CommandFailed(f"{who.name} gave several answers: {sorted(answers)}")
    names = [*(f"p{float(share) * 100:.6g}" for share in SHARES), "max"]
    return {"who": f"{who.name}, {who.does}", **dict(zip(names, answers.pop(), strict=True))}


def _conditions(file: Path, rows: int, got: argparse.Namespace) -> dict[str, str]:
    return {
        **host_conditions(),
        "load average at the end": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "pinned to CPU": str(got.cpu),
        "processes of each kind": f"{got.repeat}, in turn; medians, of memory the maximum",
        "numpy, pyarrow": f"{np.__version__}, {pa.__version__}",
        "file": f"{file.stat().st_size / rows:.2f} bytes per sample, in the page cache",
        "aim": f"{AIM_PER_S / 1e6:.0f} million samples per second, {AIM_MIB:.0f} MiB",
    }


@contextmanager
def _run_directory(got: argparse.Namespace) -> Iterator[Path]:
    """The run to read: that which was named, else a new one that goes away."""
    if got.run is None:
        with scratch() as directory:
            yield make_run(directory / "run", got.samples)
    else:
        yield got.run if got.run.exists() else make_run(got.run, got.samples)


def make_run(path: Path, samples: int) -> Path:
    """A run of one trial with that many activations, written by the writer of real runs."""
    status = TrialStatus(
        scenario="generated",
        title="generated",
        state=TrialState.DONE,
        loops=samples,
        period_ns=PERIOD_NS,
        where="guest",
        recorded=samples,
    )
    info = RunInfo(
        format=RUN_FORMAT,
        vmjitter=__version__,
        plan="benchmark",
        title="benchmark",
        created_utc=datetime.now(UTC).isoformat(),
        state=TrialState.DONE,
        deadline_ns=None,
        pair=None,
        scenarios=(status.scenario,),
    )
    with RunWriter.create(path, info, "").start_trial(1, status) as trial:
        _write_samples(trial, samples)
    raw = trial.path / RAW_SAMPLES_FILE
    write_parquet_samples(trial.path / SAMPLES_FILE, read_raw_samples(raw, []), {})
    raw.unlink()
    return path


def _write_samples(trial: TrialWriter, samples: int) -> None:
    header = StreamHeader(
        magic=STREAM_MAGIC,
        version=VERSION,
        header_bytes=64,
        record_bytes=16,
        clock_id=1,
        period_ns=PERIOD_NS,
        t0_ns=10**12,
        tsc_hz=TSC_HZ,
        loops=samples,
    )
    trial.begin_samples(bytes(header))
    rng = np.random.default_rng(20_260_131)
    for start in range(0, samples, _RECORDS):
        trial.append_samples(records(rng, start, min(_RECORDS, samples - start)).tobytes())


def records(rng: np.random.Generator, start: int, count: int) -> np.ndarray[Any, Any]:
    """Records as the probe writes them.

    Latencies: 5 us and a lognormal body, which ends near 60 us; one in 20 000 is later by 0.4 ms
    on average, exponentially; one in a million was missed.  TSC: that of the wake-up, and the
    20 to 60 ns until it is read.
    """
    latency = (5000 + rng.lognormal(9.2, 0.45, count)).astype(np.int64)
    late = np.flatnonzero(rng.random(count) < 1 / 20_000)
    latency[late] += rng.exponential(4e5, len(late)).astype(np.int64)
    activation = np.arange(start, start + count, dtype=np.int64)
    read_ns = activation * PERIOD_NS + latency + rng.integers(20, 60, count)
    whole, rest = np.divmod(read_ns, 1_000_000_000)
    made = np.empty(count, [("latency_ns", "<i8"), ("tsc", "<u8")])
    made["latency_ns"] = latency
    made["tsc"] = 10**15 + whole * TSC_HZ + rest * TSC_HZ // 1_000_000_000
    made[rng.random(count) < 1e-6] = (MISSED, 0)
    return made


if __name__ == "__main__":
    sys.exit(main())
