"""One plan, two kernels: what the guests say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from system.conftest import status, vmjitter

pytestmark = pytest.mark.system

PLAN = """
[plan]
title = "two kernels"
[probe]
loops = 500
[guest]
accel = "tcg"
kernel = "debian-rt-i386"
[scenario.rt]
disk = "virtio"
loads = ["sem", "disk-rw"]
[scenario.stock]
disk = "virtio"
loads = ["sem", "disk-rw"]
knobs = ["guest-kernel-stock"]
[load.disk-rw]
rate = 5
"""


def test_scenarios_of_one_plan_boot_different_kernels(tmp_path: Path, run_dir: Path) -> None:
    plan = tmp_path / "kernels.toml"
    plan.write_text(PLAN)
    done = vmjitter("run", str(plan), "--output", str(run_dir), "--json")
    assert done.returncode in {0, 4}, done.stderr
    assert "guest kernel debian-rt-i386" in done.stderr
    assert "guest kernel debian-i386" in done.stderr
    qemu = json.loads((run_dir / "run.json").read_text())["qemu"]
    realtime = {}
    for name, trial in (("rt", "01-rt"), ("stock", "02-stock")):
        found = status(run_dir, trial)
        assert f" {qemu[f'kernel_release.{name}']} " in found["guest_facts"]["kernel"]
        assert found["probe"]["clocksource_before"] == found["probe"]["clocksource_after"]
        assert {load["name"]: load["ops"] > 0 for load in found["loads"]} == {
            "sem": True,
            "disk-rw": True,
        }
        realtime[name] = "PREEMPT_RT" in found["guest_facts"]["kernel"]
    assert realtime == {"rt": True, "stock": False}
    assert (qemu["kernel.rt"], qemu["kernel.stock"]) == ("debian-rt-i386", "debian-i386")
    compared = vmjitter("compare", str(run_dir), "--scenarios", "rt,stock", "--json")
    assert compared.returncode == 4, compared.stderr  # one trial each shows nothing
    differences = json.loads(compared.stdout)["compared"]
    assert {"guest kernel", "knobs"} <= {one["name"] for one in differences}
