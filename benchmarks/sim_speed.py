"""The simulated host's speed: real seconds per virtual second, time to a command, memory.

    .venv/bin/python -m benchmarks.sim_speed

One host per row does nothing, sleeps, and works; differences of their times cancel the boot.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import Row, parser, render

SLEEP_S = 4
# a second of work for one simulated CPU, as many of them as there are CPUs
WORK = "i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); done"
ROUNDS = 300_000


def main() -> int:
    """Measure each machine and print a table."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--cpus", type=int, nargs="+", default=[1, 2])
    options.add_argument("--clock", nargs="+", default=["virtual", "real"])
    arguments = options.parse_args()
    rows = list(measure(arguments))
    print(json.dumps(rows, indent=2) if arguments.json else render(rows), end="")
    return 0


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """One row per clock and number of CPUs."""
    for clock in arguments.clock:
        for cpus in arguments.cpus:
            nothing = run(clock, cpus, "true")
            idle = run(clock, cpus, f"sleep {SLEEP_S}")
            one = run(clock, cpus, f"taskset 1 sh -c '{WORK.format(rounds=ROUNDS)}'")
            every = " & ".join(
                f"taskset {1 << cpu:x} sh -c '{WORK.format(rounds=ROUNDS)}'" for cpu in range(cpus)
            )
            full = run(clock, cpus, f"{every} & wait")
            yield {
                "clock": clock,
                "CPUs": cpus,
                "command after (s real)": round(nothing[0], 1),
                "command after (s virtual)": round(nothing[1], 2),
                "idle (s real per s)": ratio(idle, nothing),
                "one CPU busy (s real per s)": ratio(one, nothing),
                "all busy (s real per s)": ratio(full, nothing),
                "memory (MiB)": full[2] >> 10,
            }


def ratio(more: tuple[float, float, int], less: tuple[float, float, int]) -> float:
    """Real seconds per virtual second of what one did more than the other."""
    return round((more[0] - less[0]) / (more[1] - less[1]), 2)


def run(clock: str, cpus: int, script: str) -> tuple[float, float, int]:
    """Real seconds, virtual ones since the kernel began, most resident KiB of the simulator."""
    argv = [sys.executable, "-m", "vmjitter", "sim", "exec", "--clock", clock]
    argv += ["--set", f"sim.cpus={cpus}", "--", "sh", "-c", f"{script}; cat /proc/uptime"]
    begin = time.monotonic()
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    largest = 0
    while running.poll() is None:
        largest = max(largest, *(resident_kib(pid) for pid in children(running.pid)), 0)
        time.sleep(0.1)
    output = running.stdout.read() if running.stdout else ""
    return time.monotonic() - begin, float(output.split()[0]), largest


def children(pid: int) -> list[int]:
    """All processes below one."""
    try:
        direct = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in direct] + [c for d in direct for c in children(int(d))]


def resident_kib(pid: int) -> int:
    """Resident memory of a process, 0 once it is gone."""
    try:
        found = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
