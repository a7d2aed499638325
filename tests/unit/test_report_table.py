"""The table: complete at every width, silent about nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from fakes.runmaker import TrialMaker, latencies, make_knob, make_load, make_run, make_status
from vmjitter.model.run import TrialState
from vmjitter.report.result import judge
from vmjitter.report.table import print_report
from vmjitter.store.reader import read_run
from vmjitter.units import format_ns

LATENCY = latencies(20_000, seed=2, worst_ns=118_234_000)


def shown(path: Path, *, width: int, color: bool = False, details: bool = True) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, highlight=False)
    print_report(console, judge(read_run(path)), details=details)
    return out.getvalue()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    loads = (
        make_load("shm"),
        make_load("mem", rate=0, ops=480_000),
        make_load("udp", side="host", ops=24_000, errors=3, longest_stall_s=2, message="lost"),
    )
    before = make_status("kernel-io", loops=20_000, loads=loads)
    after = make_status(
        "kernel-io-mitigated",
        loops=20_000,
        paper_max_ns=10_970_000,
        deviations=("no vhost-net here",),
        knobs=(make_knob(), make_knob(read_back="other:0")),
    )
    invalid = make_status("invalid", loops=20_000, invalid=("clocksource changed",))
    killed = make_status("killed", loops=20_000, state=TrialState.RUNNING, paper_max_ns=None)
    return make_run(
        tmp_path / "run",
        [
            TrialMaker(status=before, latency_ns=LATENCY),
            TrialMaker(status=after, latency_ns=LATENCY // 10),
            TrialMaker(status=invalid, latency_ns=LATENCY),
            TrialMaker(status=killed, latency_ns=LATENCY[:200] - 20_000),
        ],
        pair=("kernel-io", "kernel-io-mitigated"),
        deadline_ns=5_000_000,
        scenarios=("kernel-io", "kernel-io-mitigated", "invalid", "killed", "later"),
    )


@pytest.mark.parametrize("width", [80, 100, 140])
def test_everything_is_said(run: Path, width: int) -> None:
    text = shown(run, width=width)
    assert max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    for part in (
        format_ns(int(LATENCY.max())),
        "100.55 ms",
        "10.97 ms",
        "INVALID clocksource changed",
        "incomplete: 200 of 20000",
        "not measured",
        "wake-ups before their time",
        "FAIL deadline 5.00 ms, any miss fails, 95 % confidence",
        "kernel-io FAIL: ",
        "invalid INCONCLUSIVE: clocksource changed",
        "later was not measured",
        "not a bound",
        "3/N",
        "times shorter; in the paper: 9.2 times shorter",
        "not those of a KVM host",
        "no vhost-net here",
        "mem\N{NO-BREAK SPACE}2000",
        "100/1000 with 3 errors with a stall of 2 s (lost)",
        "but found other:0",
        "too few wake-ups to support",
    ):
        assert " ".join(part.split()) in flat, part


def test_no_colour_without_a_terminal(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert "\x1b[" not in shown(run, width=100)
    assert "\x1b[1;31m" in shown(run, width=100, color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in shown(run, width=100, color=True)


def test_figures_of_an_invalid_trial_are_struck(run: Path) -> None:
    lines = [line for line in shown(run, width=140, color=True).splitlines() if "invalid" in line]
    assert "\x1b[2;9m" in lines[0]


@pytest.mark.parametrize("width", [80, 100])
def test_a_run_without_a_trial(tmp_path: Path, width: int) -> None:
    path = make_run(tmp_path / "run", [], scenarios=("one",), title="", host={}, deadline_ns=7)
    text = shown(path, width=width)
    assert "not measured" in text
    assert "INCONCLUSIVE  deadline 7 ns" in text


def test_a_deadline_that_holds(tmp_path: Path) -> None:
    trial = TrialMaker(status=make_status(accel="kvm", conditions=()), latency_ns=LATENCY[:1000])
    path = make_run(tmp_path / "run", [trial], deadline_ns=1_000_000_000)
    text = shown(path, width=100)
    assert "PASS  deadline 1.00 s, any miss fails" in text
    assert "PASS: no miss of the deadline of 1.00 s in 1 000 activations" in text
    assert "TCG" not in text


def test_without_details_four_trials_fit_on_a_screen(tmp_path: Path) -> None:
    why = "TCG instead of KVM: /dev/kvm: No such file or directory"
    trials = [
        TrialMaker(status=make_status(name, deviations=(why,)), latency_ns=LATENCY[:1000])
        for name in ("native", "kernel", "kernel-io", "kernel-io-mitigated")
    ]
    path = make_run(tmp_path / "run", trials, deadline_ns=5_000_000)
    text = shown(path, width=120, details=False)
    assert len(text.splitlines()) <= 40
    assert text.count(why) == 1, "what several trials have in common is said once"
    assert "In native, kernel, kernel-io, kernel-io-mitigated: TCG instead of KVM" in text
    assert "guest loads" not in text
    assert len(shown(path, width=120).splitlines()) > 40


def test_brackets_are_no_markup(tmp_path: Path) -> None:
    load = make_load("[red]l[/red]", side="[bold]host")
    status = make_status("a[b]", title="[x]", conditions=("[y]",), loads=(load,))
    path = make_run(tmp_path / "run", [TrialMaker(status=status, latency_ns=LATENCY[:1000])])
    text = shown(path, width=100)
    for part in ("a[b]", "[x]", "[y]", "[red]l[/red]", "[bold]host"):
        assert part in text
