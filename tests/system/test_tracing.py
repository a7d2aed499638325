"""Traces of real trials: a guest's, the host's own, one that ends early, one that is killed."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from system.conftest import samples, start, status, vmjitter, wait_for
from vmjitter.effects.tracefs import TRACEFS_PLACES, kernel_tree
from vmjitter.errors import MissingCapability

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_left")]
EVENT = re.compile(r"^\s*.+-\d+\s+\[\d{3}\]\s+\S+\s+(\d+)\.(\d{6}): (\w+): ", re.MULTILINE)
QEMU_LINE = re.compile(r"^(\d+)@(\d+\.\d{6}):(\w+) ", re.MULTILINE)

HOST = """
[plan]
title = "the host itself"
[probe]
loops = 500
[scenario.host]
where = "host"
loads = ["sem"]
"""


def _instances() -> list[str]:
    with kernel_tree("tracefs", TRACEFS_PLACES, "available_events") as tree:
        return sorted(path.name for path in (tree.root / "instances").glob("vmjitter-*"))


@pytest.fixture
def no_instance_left() -> Any:  # noqa: ANN401 - a generator of nothing
    """Skips where tracing is not to be had; no ring of these tests is left behind."""
    try:
        before = set(_instances())
    except MissingCapability as error:
        pytest.skip(f"{error}; run the tests as root")
    yield
    wait_for(lambda: not {one for one in _instances() if not _lives(one)} - before, 10)


def _lives(instance: str) -> bool:
    return Path(f"/proc/{instance.split('-')[1]}").exists()


def _meta(trial: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads((trial / "trace/meta.json").read_text())


def _events(file: Path) -> list[tuple[int, str]]:
    text = gzip.decompress(file.read_bytes()).decode()
    found = EVENT.findall(text)
    return [(int(second) * 10**9 + int(micro) * 1000, name) for second, micro, name in found]


@pytest.mark.usefixtures("no_instance_left")
def test_a_traced_guest(plan: Path, run_dir: Path) -> None:
    done = vmjitter(
        "run", str(plan), "--only", "guest", "--trace", "--set", "trace.qemu=on",
        "--set", "trace.buffer=64M", "--output", str(run_dir),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trial = run_dir / "trials/01-guest"
    meta, said = _meta(trial), status(run_dir)
    probe, offset = said["probe"], said["clock_before"]["offset_ns"]
    assert meta["rung"] == 2  # there is no KVM under TCG
    assert {"vcpu 0", "main loop", "vmjitter", "peer"} <= {
        one["role"] for one in meta["threads"].values()
    }
    assert set(meta["guest_tasks"].values()) == {"load sem", "load disk-rw", "load udp"}

    host = _events(trial / "trace/host.txt.gz")
    begin_ns, end_ns = probe["t0_ns"] - offset, probe["end_ns"] - offset
    assert host[0][0] < begin_ns < end_ns - 10_000_000 < host[-1][0]
    assert {"sched_switch", "sched_waking"} <= {name for _, name in host}

    guest = _events(trial / "trace/guest.txt.gz")
    assert guest[0][0] < probe["t0_ns"]
    assert guest[-1][0] > probe["end_ns"] - 10_000_000
    assert meta["lost"] == {"host": 0, "guest": 0}

    text = gzip.decompress((trial / "trace/qemu.log.gz").read_bytes()).decode()
    lines = QEMU_LINE.findall(text)
    assert {tid for tid, _, _ in lines} <= set(meta["threads"])
    assert {"qemu_mutex_lock", "qemu_mutex_locked"} <= {name for _, _, name in lines}
    real_ns, mono_ns = meta["realtime"][0]
    # the wall clock's line of the log lands in the measured phase
    middle_ns = round(float(lines[len(lines) // 2][1]) * 1e9) - real_ns + mono_ns
    assert begin_ns - 10**9 < middle_ns < end_ns + 10**9
    assert not (trial / ".qemu-trace.log").exists()


def test_counters_are_there_without_asking(plan: Path, run_dir: Path) -> None:
    done = vmjitter("run", str(plan), "--only", "bare", "--output", str(run_dir))
    assert done.returncode == 0, done.stderr
    trial = run_dir / "trials/01-bare"
    meta = _meta(trial)
    assert (meta["rung"], meta["host_events"], meta["qemu_events"]) == (3, [], [])
    assert "--trace" in meta["why"]
    rows = list(csv.DictReader((trial / "trace/proc.csv").read_text().splitlines()))
    [vcpu] = [tid for tid, one in meta["threads"].items() if one["role"] == "vcpu 0"]
    spent = [int(row["cpu_ns"]) for row in rows if row["tid"] == vcpu]
    assert len(spent) >= 2  # at the start and at the end, seldom in between
    assert spent == sorted(spent)
    assert spent[-1] > spent[0]
    looks = [one for one in meta["own_actions"] if one["what"] == "look at the shared memory"]
    assert looks
    assert sorted(path.name for path in (trial / "trace").iterdir()) == ["meta.json", "proc.csv"]


@pytest.mark.usefixtures("no_instance_left")
def test_the_host_itself_is_on_the_highest_rung(tmp_path: Path, run_dir: Path) -> None:
    plan = tmp_path / "host.toml"
    plan.write_text(HOST)
    done = vmjitter("run", str(plan), "--trace", "--output", str(run_dir))
    assert done.returncode == 0, done.stderr
    trial = run_dir / "trials/01-host"
    meta = _meta(trial)
    assert (meta["rung"], meta["why"], meta["qemu_pid"]) == (1, "", None)
    roles = {one["role"] for one in meta["threads"].values()}
    assert {"vmjitter", "probe", "load sem"} <= roles
    assert _events(trial / "trace/host.txt.gz")


@pytest.mark.usefixtures("no_instance_left")
def test_a_scenario_that_is_not_to_be_traced(tmp_path: Path, run_dir: Path) -> None:
    plan = tmp_path / "pair.toml"
    plan.write_text(f'{HOST}[scenario.quiet]\nwhere = "host"\nloads = ["sem"]\ntrace = false\n')
    done = vmjitter(
        "run", str(plan), "--trace", "--set", "trace.events=light", "--output", str(run_dir)
    )
    assert done.returncode == 0, done.stderr
    traced = {name for _, name in _events(run_dir / "trials/01-host/trace/host.txt.gz")}
    assert "sched_switch" in traced
    assert not traced & {"hrtimer_expire_entry", "local_timer_entry", "softirq_entry"}
    quiet = run_dir / "trials/02-quiet"
    assert not (quiet / "trace/host.txt.gz").exists()
    assert _meta(quiet)["host_events"] == []
    said = vmjitter("compare", f"{run_dir}:host", f"{run_dir}:quiet", "--json")
    listed = json.loads(said.stdout)["compared"] if said.stdout else []
    assert [one["name"] for one in listed] == ["trace"], said.stderr


@pytest.mark.usefixtures("no_instance_left")
def test_the_first_late_wake_up_ends_the_trial(plan: Path, run_dir: Path) -> None:
    done = vmjitter(
        "run", str(plan), "--only", "bare", "--loops", "60000", "--breaktrace", "1",
        "--output", str(run_dir),
    )  # fmt: skip
    trial, said = run_dir / "trials/01-bare", status(run_dir, "01-bare")
    assert done.returncode == 4, done.stderr  # not the measurement that was planned
    assert said["state"] == "done"
    assert 0 < said["recorded"] < 60000
    [why] = [text for text in said["deviations"] if "--breaktrace" in text]
    assert re.search(r"ended early, as --breaktrace 1.00 µs asks: activation \d+, .* late", why)
    kept = _meta(trial)["kept"]
    number = int(re.findall(r"activation (\d+)", why)[0])
    planned_ns = said["probe"]["t0_ns"] + number * 1_000_000 - said["clock_before"]["offset_ns"]
    assert any(one["from_ns"] <= planned_ns <= one["to_ns"] for one in kept)


@pytest.mark.root
def test_without_tracefs_qemu_tells_by_itself(plan: Path, run_dir: Path) -> None:
    if any((place / "available_events").exists() for place in TRACEFS_PLACES):
        pytest.skip("tracefs is mounted, root reads it without any capability; umount it")
    done = vmjitter(
        "run", str(plan), "--only", "bare", "--trace", "--output", str(run_dir),
        prefix=["setpriv", "--bounding-set", "-sys_admin"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trial = run_dir / "trials/01-bare"
    meta = _meta(trial)
    assert meta["rung"] == 3
    assert meta["why"] == "no trace of the host: tracefs cannot be used: Operation not permitted"
    assert meta["host_events"] == []
    text = gzip.decompress((trial / "trace/qemu.log.gz").read_bytes()).decode()
    assert QEMU_LINE.search(text)
    assert _events(trial / "trace/guest.txt.gz")  # the guest's kernel needs no privilege of ours


@pytest.mark.usefixtures("no_instance_left")
def test_a_killed_run_leaves_no_ring(plan: Path, run_dir: Path) -> None:
    run = start("run", str(plan), "--only", "bare", "--trace", "--loops", "60000",
                "--output", str(run_dir))  # fmt: skip
    wait_for(lambda: samples(run_dir, "01-bare") > 1000)
    mine = [one for one in _instances() if one.split("-")[1] == str(run.pid)]
    assert len(mine) == 2
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    wait_for(lambda: not set(mine) & set(_instances()), 10)


@pytest.mark.usefixtures("no_instance_left")
def test_an_interrupted_run_keeps_its_trace(plan: Path, run_dir: Path) -> None:
    run = start("run", str(plan), "--only", "bare", "--trace", "--loops", "60000",
                "--output", str(run_dir))  # fmt: skip
    wait_for(lambda: samples(run_dir, "01-bare") > 1000)
    os.kill(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    trial = run_dir / "trials/01-bare"
    assert _events(trial / "trace/host.txt.gz")
    assert "the trial ended early" in " ".join(_meta(trial)["notes"])
