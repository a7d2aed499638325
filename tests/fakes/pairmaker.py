"""Groups of synthetic trials for comparisons, and runs that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.model.judge import Target
from vmjitter.report.comparable import Group, Member, group_of
from vmjitter.report.result import judge
from vmjitter.store.reader import read_run

ABBA = (("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 3), ("b", 3), ("b", 4), ("a", 4))
WORST_NS = {"a": 9_000_000, "b": 700_000}
PLAN = """
[guest]
memory = "1G"
[scenario.a]
disk = "ide"
vhost = false
knobs = []
[scenario.b]
disk = "virtio"
vhost = true
knobs = ["qemu-fifo-max"]
"""


def turns(
    order: Sequence[tuple[str, int]] = ABBA,
    *,
    wake_ups: int = 4000,
    seed: int = 0,
    **changes: object,
) -> list[TrialMaker]:
    """Trials in this order; those of "a" have a much later maximum, and nothing else."""
    made = []
    for place, (scenario, number) in enumerate(order, start=seed):
        fields: dict[str, object] = {
            "loops": wake_ups,
            "round": number,
            "started_utc": f"2026-01-31T14:{place:02}:00+00:00",
            "guest_facts": {"kernel": "Linux guest 6.12-rt"},
        }
        status = make_status(scenario, **{**fields, **changes})
        worst_ns = WORST_NS[scenario] + 1000 * place
        latency = latencies(wake_ups, seed=place, worst_ns=worst_ns)
        made.append(TrialMaker(status=status, latency_ns=latency))
    return made


def paired_run(path: Path, trials: list[TrialMaker] | None = None, **changes: object) -> Path:
    """A run that measured "a" and "b" in turn, with a plan that says in what they differ."""
    fields: dict[str, object] = {"scenarios": ("a", "b"), "pair": ("a", "b"), **changes}
    make_run(path, turns() if trials is None else trials, **fields)
    (path / "plan.toml").write_text(PLAN)
    return path


def group(path: Path, scenario: str, target: Target | None = None) -> Group:
    """All trials of a scenario of a run."""
    result = judge(read_run(path, target))
    return group_of(
        scenario,
        [Member(run=result.run, trial=one) for one in result.trials if one.scenario == scenario],
    )
