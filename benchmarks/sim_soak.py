"""Many nested runs in simulated hosts: does each come to its end at the first try?

    .venv/bin/python -m benchmarks.sim_soak --runs 50 --loops 500

Runs go through one and two host CPUs, emulated and paravirtual devices, and every run has a seed
of its own: the same seed would be the same run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SCENARIOS = ("kernel-io", "kernel-io-mitigated")
CPUS = (1, 2)
MACHINE = "fast-nvme"  # with a slow disk, getting ready would take most of the time


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run: what was asked, how it ended, and how long it took."""

    seed: int
    cpus: int
    scenario: str
    status: int
    count: int
    max_ns: int
    repeated: int
    seconds: float
    said: str

    @property
    def good(self) -> bool:
        """Complete and valid at the first try."""
        return self.status == 0 and self.repeated == 0

    def line(self) -> str:
        """The run in one line."""
        verdict = "ok" if self.good else f"FAILED {self.said}"
        return (
            f"seed {self.seed:<3} {self.cpus} CPU {self.scenario:<20} n {self.count:<6} "
            f"max {self.max_ns / 1000:8.1f} us  {self.seconds:5.0f} s  {verdict}"
        )


def main() -> int:
    """Run them and print one line each; the exit status is the number of bad ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--first", type=int, default=1, help="seed of the first run")
    parser.add_argument("--loops", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    kinds = itertools.cycle(itertools.product(CPUS, SCENARIOS))
    seeds = range(arguments.first, arguments.first + arguments.runs)
    tasks = [(seed, *next(kinds)) for seed in seeds]
    bad = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for outcome in pool.map(lambda task: run(*task, loops=arguments.loops), tasks):
            print(outcome.line(), flush=True)
            bad += not outcome.good
    print(f"{len(tasks) - bad} of {len(tasks)} runs complete and valid at the first try")
    return bad


def run(seed: int, cpus: int, scenario: str, *, loops: int) -> Outcome:
    """One run in a process of its own."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "run"
        argv = [sys.executable, "-m", "vmjitter", "run", "paper", "--bench", "sim", "--json"]
        argv += ["--only", scenario, "--loops", str(loops), "--output", str(output), "-j", "1"]
        argv += ["--machine", MACHINE, "--set", f"sim.cpus={cpus}", "--set", f"sim.seed={seed}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        trial = json.loads(done.stdout)["trials"][0] if done.stdout else {}
        repeated = trial.get("repeated", [])
    return Outcome(
        seed=seed,
        cpus=cpus,
        scenario=scenario,
        status=done.returncode,
        count=trial.get("count") or 0,
        max_ns=trial.get("max_ns") or 0,
        repeated=len(repeated),
        seconds=time.monotonic() - begin,
        said=" | ".join([*repeated, *trial.get("invalid", []), *done.stderr.splitlines()[-3:]]),
    )


if __name__ == "__main__":
    sys.exit(main())
