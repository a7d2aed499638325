"""Running the real program on real guests.

The guests' kernel and images are in the user's cache, shared by all tests and workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
QUICK = """
[plan]
title = "a quick look"
[probe]
loops = 1500
[guest]
accel = "tcg"
[load.disk-rw]
rate = 5
[scenario.guest]
disk = "virtio"
network = "virtio"
loads = ["sem", "disk-rw", "udp"]
[scenario.bare]
loads = ["sem"]
"""


def command(*arguments: str) -> list[str]:
    """The program as a user would start it."""
    return [sys.executable, "-m", "vmjitter", *arguments]


def environment() -> dict[str, str]:
    """Our own environment with the sources to test."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "NO_COLOR": "1", "COLUMNS": "120"}


def vmjitter(*arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [*prefix, *command(*arguments)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=400,
        check=False,
    )


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the program and leave it running."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def status(run: Path, trial: str = "01-guest") -> Any:  # noqa: ANN401 - JSON
    """A trial's status as it is on disk."""
    return json.loads((run / "trials" / trial / "status.json").read_text())


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def samples(run: Path, trial: str = "01-guest") -> int:
    """Size of a trial's raw samples, 0 before there are any."""
    path = run / "trials" / trial / "samples.raw"
    return path.stat().st_size if path.exists() else 0


def descendants(pid: int) -> list[int]:
    """Process ids of all living children and their children."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def alive(pid: int) -> bool:
    """Whether a process does something; zombies do not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan of two short scenarios."""
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    return path


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Where a run may be written."""
    return tmp_path / "run"


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No new tap device or named namespace afterwards."""
    before = _net_names()
    yield
    assert _net_names() == before


def _net_names() -> list[str]:
    names = sorted(path.name for path in Path("/sys/class/net").iterdir())
    netns = Path("/run/netns")
    return names + (sorted(p.name for p in netns.iterdir()) if netns.exists() else [])
