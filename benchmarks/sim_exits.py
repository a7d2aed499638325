"""What an exit from a virtual machine costs in the simulated host, in instructions.

    .venv/bin/python -m benchmarks.sim_exits

Runs benchmarks/native/exits.c on one simulated CPU, with and without the kernel's mitigations.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import parser, render

from vmjitter.bench.machine import execute
from vmjitter.config.resolve import Choices, resolve_machine
from vmjitter.sim.build import build

SOURCE = Path(__file__).parent / "native/exits.c"
SCRIPT = "cp /job/exits /work/exits && chmod +x /work/exits && exec taskset 1 /work/exits"


def main() -> int:
    """Measure and print a table."""
    arguments = parser(__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "exits"
        argv = ["gcc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", str(program)]
        subprocess.run([*argv, str(SOURCE)], check=True)
        binary = program.read_bytes()
    rows = [
        row for append in ("mitigations=auto", "mitigations=off") for row in run(binary, append)
    ]
    print(json.dumps(rows, indent=2) if arguments.json else render(rows), end="")
    return 0


def run(binary: bytes, append: str) -> list[dict[str, str | float]]:
    """Exits' costs with words on the simulated host's command line; the last of three rounds."""
    spec = resolve_machine(Choices(assignments=["sim.cpus=1", f"sim.append={append}"]))
    said: list[bytes] = []
    made = build(spec.kernel, say=lambda _: None)
    files = {"exits": binary}
    status = execute(
        made, spec, ["sh", "-c", SCRIPT], lambda _, data: said.append(data), files=files
    )
    if status != 0:
        sys.exit(f"status {status}: {b''.join(said).decode()}")
    last = json.loads(b"".join(said).decode().splitlines()[-1])
    return [
        {"kernel": append, "exit": name, "instructions": round(last[name] - last["loop"])}
        for name in ("cpuid", "out")
    ]


if __name__ == "__main__":
    sys.exit(main())
