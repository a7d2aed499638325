"""Knobs on real guests and on this machine itself; everything is as before afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from system.conftest import environment, samples, start, status, vmjitter, wait_for
from vmjitter.effects.process import split_cpus
from vmjitter.effects.systree import SysTree
from vmjitter.model.plan import Accel
from vmjitter.session import guest_trial
from vmjitter.session.tuning import Tuning
from vmjitter.tuning.journal import Journal
from vmjitter.tuning.knob import Host, ModuleKnob
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.media import media
from vmjitter.tuning.tuner import How, Tuner

needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change settings: run as root"),
]
pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_changed"), *needs_root]

PLAN = """
[plan]
title = "knobs of all kinds"
[probe]
loops = 1000
[guest]
accel = "tcg"
[scenario.tuned]
disk = "virtio"
loads = ["sem"]
knobs = [
  "vmstat-rare", "ksm-off", "pm-qos", "iothread", "vcpu-fifo", "qemu-fifo-max",
  "guest-printk-quiet", "guest-timer-migration-off", "pause-loop-exits-off",
]
"""
DISRUPTIVE = {"smt-off"}
"""Not for a test: takes CPUs from everybody."""

PROGRAM = """
import sys, typer
from vmjitter.cli import tune_cmd
app = typer.Typer(pretty_exceptions_enable=False)
app.callback()(lambda: None)
tune_cmd.register(app)
app()
"""


def knobs_here() -> list[str]:
    guest, others = split_cpus(1)
    here = Host(guest_cpus=guest, other_cpus=others, accel=Accel.KVM)
    return [
        name
        for name, knob in KNOBS.items()
        if name not in DISRUPTIVE
        and not isinstance(knob, ModuleKnob)
        and not knob.missing(here)
        and knob.on_host(here)
    ]


def settings_here() -> dict[tuple[str, str], str | None]:
    guest, others = split_cpus(1)
    here = Host(guest_cpus=guest, other_cpus=others, accel=Accel.KVM)
    every = media()
    changes = [one for knob in KNOBS.values() for one in knob.on_host(here)]
    return {(one.medium, one.place): every[one.medium].read(one.place) for one in changes}


@pytest.fixture
def nothing_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A journal of our own, and a machine that is as before afterwards."""
    monkeypatch.setenv("VMJITTER_STATE_DIR", str(tmp_path / "state"))
    before = settings_here()
    yield
    tuner = Tuner(Journal(tmp_path / "state"), media())
    tuner.revert(tuner.outstanding())
    assert settings_here() == before


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "knobs.toml"
    path.write_text(PLAN)
    return path


@pytest.mark.parametrize("name", knobs_here())
def test_each_knob_of_this_machine_takes_effect_and_is_taken_back(
    name: str, tmp_path: Path
) -> None:
    before = settings_here()
    guest, others = split_cpus(1)
    here = Host(guest_cpus=guest, other_cpus=others, accel=Accel.KVM)
    tuner = Tuner(Journal(tmp_path / "state"), media())
    try:
        made = tuner.apply(name, KNOBS[name].on_host(here))
        assert made or tuner.refused
        assert [one for one in made if one.read_back != one.wanted] == []
    finally:
        undone = tuner.revert(tuner.outstanding())
    assert [one for one in undone if one.how is not How.RESTORED] == []
    assert settings_here() == before
    assert Journal(tmp_path / "state").entries() == ()


def test_what_a_trial_changes_it_changes_outside_of_the_measured_phase(
    plan: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmjitter.cli import run  # noqa: PLC0415 - imports all verbs

    kept: list[Tuning] = []

    class Kept(Tuning):
        def __init__(self, *words: Any, **named: Any) -> None:  # noqa: ANN401
            super().__init__(*words, **{"log": run_dir / "tuning.log", **named})
            kept.append(self)

    monkeypatch.setattr(guest_trial, "Tuning", Kept)
    monkeypatch.chdir(run_dir.parent)
    assert run(["run", str(plan), "--output", str(run_dir)]) in {0, 4}
    found = status(run_dir, "01-tuned")
    [tuning] = kept
    begin_ns, end_ns = found["clock_before"]["host_ns"], found["clock_after"]["host_ns"]
    assert 0 < begin_ns < end_ns
    there = [act for act in tuning.acts if act.end_ns < begin_ns]
    back = [act for act in tuning.acts if act.begin_ns > end_ns]
    assert len(there) + len(back) == len(tuning.acts), "none while it measured"
    changed = {act.knob for act in there}
    assert {"vmstat-rare", "pm-qos", "qemu-fifo-max", "guest-printk-quiet"} <= changed
    assert {act.knob for act in back} >= {"vmstat-rare", "pm-qos"}
    by_knob = {one["knob"]: one for one in found["knobs"]}
    for name in changed:
        one = by_knob[name]
        assert one["read_back"] == one["after"] == one["wanted"]
    # module options that are not in force, and a CPU of its own that is not there
    said = "\n".join(found["deviations"])
    assert "without pause-loop-exits-off" in said
    assert "without vcpu-fifo: the guest has no CPU of its own" in said
    assert "watchdog" not in said
    assert Journal(Path(os.environ["VMJITTER_STATE_DIR"])).entries() == ()


def test_a_run_that_is_killed_is_put_back_by_the_next_process(plan: Path, run_dir: Path) -> None:
    before = SysTree().read("/proc/sys/vm/stat_interval")
    process = start("run", str(plan), "--set", "probe.loops=200000", "--output", str(run_dir))
    try:
        wait_for(lambda: samples(run_dir, "01-tuned") > 0)
        assert SysTree().read("/proc/sys/vm/stat_interval") == "10"
        refused = tune("revert")
        assert refused.returncode == 1
        assert "kept: the vmjitter that set it still runs" in refused.stdout
        assert SysTree().read("/proc/sys/vm/stat_interval") == "10"
    finally:
        process.kill()
        process.communicate()
    time.sleep(0.1)  # the watchdog may be quicker than we are, and then there is nothing to do
    done = tune("revert")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: SysTree().read("/proc/sys/vm/stat_interval") == before, 5)


def tune(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "tune", *words],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )


def test_threads_of_a_real_qemu_are_found_and_changed(plan: Path, run_dir: Path) -> None:
    plan.write_text(PLAN.partition("knobs =")[0])
    process = start("run", str(plan), "--set", "probe.loops=200000", "--output", str(run_dir))
    try:
        wait_for(lambda: samples(run_dir, "01-tuned") > 0)
        pid = qemu_of(process.pid)
        cpu = str(max(os.sched_getaffinity(0)))
        shown = json.loads(tune("show", "vcpu-pin", "--vm", str(pid), "--json").stdout)
        assert shown["knobs"][0]["places"] == 1
        done = tune("apply", "emulator-pin", "vcpu-pin", "--vm", str(pid), "--cpus", cpu)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "CPU 0/TCG" in done.stdout
        assert tune("revert").stdout.count("restored") >= 1
    finally:
        process.terminate()
        process.communicate(timeout=60)


def qemu_of(pid: int) -> int:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if "qemu" in Path(f"/proc/{child}/cmdline").read_text().partition("\0")[0]:
            return int(child)
    raise AssertionError("no QEMU")


def test_the_program_knows_the_verb() -> None:
    assert vmjitter("tune", "show").returncode == 0
