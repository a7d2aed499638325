"""The verb `explain`, on built runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

from fakes import tracemaker as make
from fakes.explainmaker import explained_run, new_trace, write_trace
from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from fakes.tracemaker import MS, US, TraceMaker
from vmjitter.cli import explain_cmd
from vmjitter.errors import DataError, UsageError
from vmjitter.report.explain import Options, explain_run, explain_section
from vmjitter.store.reader import read_run
from vmjitter.trace.rules import RULES, UNEXPLAINED
from vmjitter.tuning.knobs import KNOBS


def call(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    explain_cmd.register(app)
    done = CliRunner().invoke(app, ["explain", *arguments], env={"COLUMNS": "160"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, " ".join(done.stdout.split())


def busy() -> TraceMaker:
    """60 wake-ups: two late by a hog, one by device emulation, the others ordinary."""
    maker = new_trace()
    for number in range(60):
        if number in (20, 40):
            maker.wakeup(host=make.preempted(2 * MS))
        elif number == 30:
            maker.wakeup(host=make.emulated(450 * US))
        else:
            maker.wakeup()
    return maker


def result(path: Path, *arguments: str) -> dict[str, Any]:
    app = typer.Typer()
    app.callback()(lambda: None)
    explain_cmd.register(app)
    done = CliRunner().invoke(app, ["explain", str(path), "--json", *arguments])
    assert done.exit_code == 0, done.output
    data: dict[str, Any] = json.loads(done.stdout)
    return data


_SCHEMA = {
    "type": "object",
    "required": ["format", "run", "trials", "spikes"],
    "properties": {
        "format": {"const": 1},
        "spikes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["number", "scenario", "activation", "latency_ns", "causes"],
                "properties": {
                    "latency_ns": {"type": "integer", "exclusiveMinimum": 0},
                    "causes": {
                        "type": "array",
                        "minItems": 1,
                        "contains": {"properties": {"cause": {"const": UNEXPLAINED}}},
                        "items": {
                            "type": "object",
                            "required": ["cause", "ns"],
                            "properties": {
                                "cause": {"type": "string"},
                                "ns": {"type": "integer", "minimum": 0},
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_json_names_the_causes_and_they_sum_to_the_latency(tmp_path: Path) -> None:
    data = result(explained_run(tmp_path / "run", busy()))
    jsonschema.validate(data, _SCHEMA)
    assert [spike["causes"][0]["cause"] for spike in data["spikes"]] == [
        "preempted",
        "preempted",
        "device-emulation",
    ]
    assert data["spikes"][0]["causes"][0]["ns"] == 2 * MS
    for spike in data["spikes"]:
        assert sum(cause["ns"] for cause in spike["causes"]) == spike["latency_ns"]
    trial = data["trials"][0]
    assert (trial["late"], trial["explained"], trial["traced"]) == (3, 3, True)
    assert trial["alignment"]["holds"]
    assert trial["unseen"] == []


def test_ordinary_wakeups_are_the_control(tmp_path: Path) -> None:
    trial = result(explained_run(tmp_path / "run", busy()))["trials"][0]
    first = trial["causes"][0]
    assert first["cause"] == "preempted"
    assert first["spikes"] == 2
    assert first["controls"] == 0
    assert first["lift"] is None
    assert trial["controls"] == 57
    assert first["lift_at_least"] == pytest.approx(2 / 3 * 58)


def test_what_is_always_there_is_not_blamed(tmp_path: Path) -> None:
    maker = new_trace()
    for number in range(60):
        hog = 2 * MS if number % 20 == 5 else 40 * US
        maker.wakeup(host=make.both(make.kvm_exit(20 * US), make.preempted(hog)))
    path = explained_run(tmp_path / "run", maker)
    trial = result(path)["trials"][0]
    rows = {row["cause"]: row for row in trial["causes"]}
    assert rows["kvm-exit"]["lift"] == pytest.approx(1.0)
    assert rows["kvm-exit"]["longer"] == pytest.approx(1.0, rel=0.01)
    assert rows["preempted"]["longer"] == pytest.approx(50.0, rel=0.01)
    assert trial["next"]["cause"] == "preempted"
    _, text = call(str(path))
    assert "Ordinary wake-ups have it about as often and as long: KVM handled an exit" in text


def test_packed_files_say_the_same(tmp_path: Path) -> None:
    plain = result(explained_run(tmp_path / "plain", busy()))
    packed = result(explained_run(tmp_path / "packed", busy(), packed=True))
    assert plain["spikes"] == packed["spikes"]


def test_twice_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy())
    assert call(str(path)) == call(str(path))
    for name in ("a.json", "b.json"):
        call(str(path), "-o", str(tmp_path / name))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_table_and_next_step(tmp_path: Path) -> None:
    status, text = call(str(explained_run(tmp_path / "run", busy())))
    assert status == 0
    assert "virtual CPU preempted" in text
    assert "by hog (4711), real-time 50" in text
    assert "IDE, primary, write at 0x1f7" in text
    assert "unexplained" in text
    assert "From tracefs and debugfs" in text
    assert (
        "vmjitter run paper --only kernel-io --set scenario.kernel-io.knobs=mem-lock,vcpu-fifo "
        "--trace" in text
    )


def test_a_spike_as_a_story(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy())
    _, text = call(str(path), "--spike", "3")
    assert "Late wake-up 3: activation" in text
    assert "device emulation in QEMU: IDE, primary, write at 0x1f7" in text
    assert "450.00 µs device emulation" in text
    assert "Together" in text
    with pytest.raises(UsageError, match="number 4: 3 were explained"):
        call(str(path), "--spike", "4")


def test_top_and_threshold(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy())
    assert len(result(path, "--top", "1")["spikes"]) == 1
    assert len(result(path, "--threshold", "1ms")["spikes"]) == 2
    assert result(path, "--threshold", "1s")["spikes"] == []
    assert len(result(path, "--threshold", "1ns")["spikes"]) == 60


def test_the_deadline_is_the_threshold(tmp_path: Path) -> None:
    trial = result(explained_run(tmp_path / "run", busy(), deadline_ns=MS))["trials"][0]
    assert (trial["threshold_ns"], trial["late"]) == (MS, 2)


def test_overrun_of_the_activation_before(tmp_path: Path) -> None:
    """A probe that counts, but does not skip, as other tools' probes do."""
    path = explained_run(tmp_path / "run", busy())
    raw = path / "trials" / "01-kernel-io" / "samples.raw"
    data = bytearray(raw.read_bytes())
    place = 64 + 16 * 10
    data[place : place + 8] = (MS + 300 * US).to_bytes(8, "little", signed=True)
    data[place + 16 : place + 24] = (312 * US).to_bytes(8, "little", signed=True)
    raw.write_bytes(bytes(data))
    spikes = result(path)["spikes"]
    late = next(spike for spike in spikes if spike["latency_ns"] == 312 * US)
    assert late["causes"][0]["cause"] == "overrun"
    assert late["causes"][0]["ns"] == 300 * US


def test_timeline_for_perfetto(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy())
    _, text = call(str(path), "-o", str(tmp_path / "worst.json"), "--worst", "2")
    assert "Timeline:" in text
    data = json.loads((tmp_path / "worst.json").read_text())
    events = data["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X"}
    late = [event for event in events if event["name"].startswith("late wake-up")]
    assert len(late) == 2
    hogs = [event for event in events if event["name"] == "hog"]
    assert len(hogs) == 2
    assert hogs[0]["dur"] == 2000.0
    assert late[0]["ts"] <= hogs[0]["ts"] <= late[0]["ts"] + late[0]["dur"]
    margin = min(event["ts"] for event in events if event["ph"] == "X")
    assert late[0]["ts"] - margin <= 5000.0


def test_nothing_late_is_nothing_to_draw(tmp_path: Path) -> None:
    maker = new_trace()
    for _ in range(20):
        maker.wakeup()
    path = explained_run(tmp_path / "run", maker)
    assert result(path)["spikes"] == []
    with pytest.raises(UsageError, match="no late wake-up to draw"):
        call(str(path), "-o", str(tmp_path / "worst.json"))
    assert not (tmp_path / "worst.json").exists()


def test_without_a_trace_it_says_how_to_record_one(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy(), traced=False, bench="sim")
    status, text = call(str(path))
    assert status == 0
    assert "no trace was recorded" in text
    assert "vmjitter run paper --only kernel-io --trace --bench sim" in text
    assert "3 times the probe was taken off its CPU" in text
    data = result(path)
    for spike in data["spikes"]:
        assert [cause["cause"] for cause in spike["causes"]] == [UNEXPLAINED]
        assert spike["causes"][0]["ns"] == spike["latency_ns"]


def test_an_older_run_without_anything(tmp_path: Path) -> None:
    status = make_status(clock_before=None, clock_after=None, probe=None)
    trial = TrialMaker(status=status, latency_ns=latencies(1000, seed=1, worst_ns=5 * MS))
    data = result(make_run(tmp_path / "run", [trial]))
    assert data["trials"][0]["traced"] is False
    assert data["spikes"]


def test_wrong_clocks_blame_nobody_on_the_host(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy())
    file = path / "trials" / "01-kernel-io" / "status.json"
    text = file.read_text()
    assert "1234567000" in text
    file.write_text(text.replace("1234567000", "1234167000"))
    data = result(path)
    assert not data["trials"][0]["alignment"]["holds"]
    causes = {cause["cause"] for spike in data["spikes"] for cause in spike["causes"]}
    host = {rule.cause for rule in RULES if rule.crosses}
    assert not causes & host
    unseen = {one["cause"] for one in data["trials"][0]["unseen"]}
    assert "preempted" in unseen
    _, out = call(str(path))
    assert "Guest and host are not aligned" in out


def test_missing_events_are_named(tmp_path: Path) -> None:
    maker = busy()
    path = explained_run(tmp_path / "run", maker, traced=False)
    place = path / "trials" / "01-kernel-io" / "trace"
    write_trace(place, maker)
    (place / "qemu.log").unlink()
    (place / "guest.txt").unlink()
    meta = maker.meta(rung=2, guest_events=[], qemu_events=[], why="no debugfs")
    (place / "meta.json").write_text(json.dumps(meta))
    trial = result(path)["trials"][0]
    unseen = {one["cause"]: one["why"] for one in trial["unseen"]}
    assert "guest-task" in unseen
    assert trial["causes"][0]["cause"] == "preempted"
    _, text = call(str(path))
    assert "softirq of the guest" in text
    assert "Why not more: no debugfs" in text


def test_a_damaged_head_is_one_clear_error(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy())
    file = path / "trials" / "01-kernel-io" / "trace" / "meta.json"
    file.write_text(file.read_text()[:-40])
    with pytest.raises(DataError, match=r"meta\.json is not as vmjitter writes it"):
        call(str(path))
    file.write_text('{"format": 9}')
    with pytest.raises(DataError, match="has format 9"):
        call(str(path))


def test_a_cut_archive_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy(), packed=True)
    file = path / "trials" / "01-kernel-io" / "trace" / "host.txt.gz"
    file.write_bytes(file.read_bytes()[:-200])
    data = result(path)
    assert data["trials"][0]["causes"][0]["cause"] == "preempted"
    assert any("ends too early" in note for note in data["trials"][0]["notes"])


def test_wrong_names_and_options(tmp_path: Path) -> None:
    path = explained_run(tmp_path / "run", busy())
    with pytest.raises(UsageError, match="no scenario 'other'"):
        call(str(path), "--scenario", "other")
    with pytest.raises(UsageError, match="exclude each other"):
        call(str(path), "--json", "--spike", "1")
    with pytest.raises(DataError, match="not a run directory"):
        call(str(tmp_path))


def test_the_section_of_a_page(tmp_path: Path) -> None:
    run = read_run(explained_run(tmp_path / "run", busy()))
    (section,) = explain_section(explain_run(run, Options()), worst=2)
    assert section.scenario == "kernel-io"
    assert section.titles["preempted"] == "virtual CPU preempted"
    assert len(section.timelines) == 2
    worst = section.timelines[0]
    assert worst.actual - worst.planned == sum(ns for _, ns in worst.causes)
    assert {lane.group for lane in worst.lanes} == {"causes", "host", "guest"}
    for lane in worst.lanes:
        if lane.group != "causes":
            assert all(worst.start <= bar.start < bar.end <= worst.end for bar in lane.bars)
    assert section.next.startswith("vmjitter run paper")


def test_every_knob_that_is_advised_exists() -> None:
    for rule in RULES:
        assert set(rule.knobs) <= KNOBS.keys(), rule.cause
        assert rule.knobs or rule.advice, rule.cause
