"""Two scenarios measured in turn on real guests, and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from system.conftest import status, vmjitter

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_left")]

TURNS = [
    "01-bare", "02-guest", "03-guest", "04-bare", "05-bare", "06-guest", "07-guest", "08-bare"
]  # fmt: skip
PLAN = """
[plan]
title = "a device and a load more"
[probe]
loops = 400
[guest]
accel = "tcg"
[scenario.bare]
loads = ["sem"]
[scenario.guest]
disk = "virtio"
loads = ["sem"]
[scenario.other]
loads = ["timer"]
"""


def test_two_scenarios_in_turn(tmp_path: Path) -> None:
    plan, run = tmp_path / "quick.toml", tmp_path / "run"
    plan.write_text(PLAN)
    done = vmjitter("run", str(plan), "--compare", "bare,guest", "--output", str(run), "--json")
    # What the machine does meanwhile is not ours: every answer is possible, but it is complete.
    # Under TCG the guest's watchdog may change its clock source in one trial: no result then.
    assert done.returncode in (0, 3, 4), done.stderr
    result = json.loads(done.stdout)
    again = vmjitter("compare", str(run), "--json", "--allow", "clock")
    found = json.loads(again.stdout)
    if result["comparison"] is None:
        assert "the clock source" in done.stderr
        assert done.returncode == 4
    else:
        assert result["comparison"] == found
        assert (run / "figures" / "compare-bare-guest.svg").stat().st_size > 10_000
        assert done.returncode == again.returncode == found["exit_status"]
    names = sorted(path.name for path in (run / "trials").iterdir())
    assert names == TURNS
    assert [status(run, name)["round"] for name in names] == [1, 1, 2, 2, 3, 3, 4, 4]
    trials = [(trial["scenario"], trial["round"]) for trial in result["trials"]]
    assert trials == [(name[3:], place // 2 + 1) for place, name in enumerate(names)]
    _check_comparison(found)
    assert (run / "report.html").exists()
    shown = vmjitter("report", str(run), "--no-figures", "--no-html")
    assert shown.stdout.count("#") >= 8
    refused = vmjitter("compare", f"{run}:bare", f"{run}:none")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def _check_comparison(found: dict[str, object]) -> None:
    for side, label in (("before", "bare"), ("after", "guest")):
        group = found[side]
        assert isinstance(group, dict)
        assert group["label"] == label
        assert len(group["trials"]) + len(group["left_out"]) == 4
    assert "in turn" in str(found["order"])
    compared = found["compared"]
    assert isinstance(compared, list)
    assert {"name": "disk", "what": "disk", "before": "none", "after": "virtio"} in compared
    assert [each["name"] for each in found["allowed"]] in ([], ["clock"])  # type: ignore[attr-defined]
    assert any("TCG" in word for word in found["conditions"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--compare", "bare"), "two different scenarios"),
        (("--compare", "bare,bare"), "two different scenarios"),
        (("--compare", "bare,gest"), "did you mean 'guest'"),
        (("--compare", "bare,guest", "--rounds", "3"), "at least 4"),
        (("--compare", "bare,other"), "what disturbs them (load)"),
        (("--compare", "bare,guest", "--only", "bare"), "exclude each other"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    plan = tmp_path / "quick.toml"
    plan.write_text(PLAN)
    done = vmjitter("run", str(plan), *arguments, "--output", str(tmp_path / "run"))
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "run").exists()
