"""A guest that is disturbed on purpose, on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from system.conftest import status, vmjitter
from vmjitter.inject.log import parse_log

pytestmark = [
    pytest.mark.system,
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(os.geteuid() != 0, reason="real-time priority needs root"),
]
PLAN = """
[plan]
title = "disturbed"
[probe]
loops = 600
[guest]
accel = "tcg"
[inject]
distance = "50ms"
[scenario.guest]
inject = ["cpu-hog=300us", "lock=300us", "guest-irq-off=300us"]
"""


def test_what_was_done_is_on_record(tmp_path: Path, run_dir: Path) -> None:
    plan = tmp_path / "disturbed.toml"
    plan.write_text(PLAN)
    done = vmjitter("run", str(plan), "--output", str(run_dir))
    assert done.returncode in (0, 3), done.stderr
    said = status(run_dir)
    assert any("disturbed on purpose every 50.00 ms: cpu-hog" in one for one in said["conditions"])
    assert not any("disturbances" in one for one in said["deviations"])
    file = run_dir / "trials/01-guest/inject.csv"
    rows = parse_log(file.read_text(), str(file))
    assert {row.kind for row in rows} == {"cpu-hog", "lock"}  # the guest keeps no record
    begun = [row.begin_ns for row in rows]
    assert begun == sorted(begun)
    assert all(row.end_ns - row.begin_ns >= 300_000 for row in rows if row.kind == "cpu-hog")
    # what is disturbed is disturbed while the probe runs
    offset = said["clock_before"]["offset_ns"]
    assert said["probe"]["t0_ns"] - offset - 10_000_000 < begun[0]
    assert begun[-1] < said["probe"]["end_ns"] - offset + 10_000_000
