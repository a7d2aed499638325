"""The end of the tapes in the simulated host: jobs are done, results and errors come back."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fakes.sim_parts import make_build
from vmjitter.bench import inside
from vmjitter.bench.handover import (
    GUEST_FILE,
    SURROUNDINGS_FILE,
    pack,
    unpack_guest,
    unpack_surroundings,
)
from vmjitter.bench.inside import EXEC, MEASURE, OUTPUT, REQUEST_FILE, find_disks
from vmjitter.bench.local import Surroundings
from vmjitter.config.resolve import Choices, resolve
from vmjitter.errors import CommandFailed, DataError, VmjitterError
from vmjitter.guest.image import GuestImage
from vmjitter.model.plan import Accel
from vmjitter.model.run import TrialState
from vmjitter.sim.mirror import receive
from vmjitter.sim.tape import END, MAGIC, PROGRESS, TICK, Record, TapeReader, TapeWriter
from vmjitter.store.reader import read_run

_MIB = 1 << 20


class Machine:
    """Two files as disks, and directories in place of the simulated host's."""

    def __init__(self, place: Path) -> None:
        self.job, self.result = place / "job.img", place / "result.img"
        self.job_dir, self.run_dir = place / "job", place / "run"
        for disk in (self.job, self.result):
            with disk.open("wb") as stream:
                stream.truncate(8 * _MIB)

    def do(self, kind: str, files: Mapping[str, bytes]) -> list[Record]:
        """Write a job, do it, and read the result."""
        with TapeWriter(self.job) as tape:
            for name, data in files.items():
                tape.write_file(name, data)
            tape.write(Record(kind=kind))
        return self.go()

    def go(self) -> list[Record]:
        inside.main(*find_disks([self.job, self.result]))
        with TapeReader(self.result) as reader:
            return list(reader.take())

    def execute(self, *argv: str, **files: bytes) -> list[Record]:
        return self.do(EXEC, {**files, REQUEST_FILE: json.dumps({"argv": argv}).encode()})


@pytest.fixture(params=[True, False], ids=["direct", "page cache"])
def machine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """Its result goes to the disk directly, as in the simulated host, and where that works not."""
    made = Machine(tmp_path)
    if request.param:
        try:
            os.close(os.open(made.result, os.O_WRONLY | os.O_DIRECT))
        except OSError:
            pytest.skip("no O_DIRECT on this file system; set TMPDIR to another one")
    else:
        monkeypatch.setattr(inside, "TapeWriter", lambda path, direct: TapeWriter(path))  # noqa: ARG005
    monkeypatch.setattr(inside, "JOB_DIR", made.job_dir)
    monkeypatch.setattr(inside, "RUN_DIR", made.run_dir)
    return made


def _output(records: list[Record], number: int) -> bytes:
    wanted = (r for r in records if r.kind == OUTPUT and r.integer("fd") == number)
    return b"".join(record.payload for record in wanted)


def test_disks_are_found_by_how_they_begin(tmp_path: Path) -> None:
    disks = [tmp_path / name for name in ("sda", "sdb", "sdc")]
    for disk, begin in zip(disks, (b"hsqs", bytes(8), MAGIC), strict=True):
        disk.write_bytes(begin.ljust(1024, b"\0" if begin != b"hsqs" else b"x"))
    assert find_disks(disks) == (disks[2], disks[1])
    with pytest.raises(VmjitterError, match=r"no job or no place for the result among .*sda"):
        find_disks(disks[:2])
    with pytest.raises(VmjitterError, match="no job or no place"):
        find_disks([disks[0], disks[2]])


def test_a_command_is_run_and_its_output_comes_back(machine: Machine) -> None:
    script = f"cat {machine.job_dir}/given; echo why >&2; exit 3"
    records = machine.execute("sh", "-c", script, given=b"content\n")
    assert _output(records, 1) == b"content\n"
    assert _output(records, 2) == b"why\n"
    assert records[0].kind == TICK
    assert {record.kind for record in records[1:-1]} == {OUTPUT, TICK}
    assert records[-1].kind == END
    assert records[-1].integer("status") == 3
    assert json.loads(records[-1].payload) == {}
    assert records[-1].integer("virtual_ns") >= records[0].integer("virtual_ns") > 0


def test_much_output_comes_back_whole(machine: Machine) -> None:
    records = machine.execute("sh", "-c", "head -c 1500000 /dev/zero | tr '\\0' x")
    assert _output(records, 1) == b"x" * 1_500_000
    assert records[-1].integer("status") == 0


def test_a_signal_is_a_status(machine: Machine) -> None:
    assert machine.execute("sh", "-c", "kill -9 $$")[-1].integer("status") == 137


def test_a_command_that_does_not_exist(machine: Machine) -> None:
    records = machine.execute("no-such-command")
    assert records[-1].integer("status") == 127
    assert b"no-such-command" in _output(records, 2)


def test_our_errors_end_with_message_hint_and_evidence(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise CommandFailed("it broke", hint="mend it", evidence="crack")

    monkeypatch.setattr("vmjitter.effects.process.stream", fail)
    records = machine.execute("true")
    assert [record.kind for record in records] == [TICK, END]
    said = {"message": "it broke", "hint": "mend it", "evidence": "crack"}
    assert json.loads(records[-1].payload) == said
    assert records[-1].integer("status") == CommandFailed.exit_status


def test_errors_of_the_system_end_with_a_message(machine: Machine) -> None:
    (last,) = [record for record in machine.do(EXEC, {}) if record.kind == END]
    assert last.integer("status") == 1
    message = json.loads(last.payload)["message"]
    assert message.startswith("in the simulated host: ")
    assert REQUEST_FILE in message


@pytest.mark.parametrize(
    ("kind", "request_json"), [("dance", b"{}"), (EXEC, b"no json"), (EXEC, b"{}")]
)
def test_a_job_that_makes_no_sense_still_ends_with_a_word(
    machine: Machine, kind: str, request_json: bytes
) -> None:
    last = machine.do(kind, {REQUEST_FILE: request_json})[-1]
    assert last.kind == END
    assert last.integer("status") != 0
    assert json.loads(last.payload)["message"]


def test_a_job_disk_without_a_job(machine: Machine) -> None:
    with TapeWriter(machine.job) as tape:
        tape.write_file("x", b"")
    assert json.loads(machine.go()[-1].payload)["message"] == "the job's disk holds no job"


PLAN = """
[probe]
loops = 20
policy = "other"
[scenario.a]
where = "host"
[scenario.b]
where = "host"
"""


@pytest.fixture
def request_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A job to measure without a guest, whose disk is a directory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    asked: list[tuple[int, int, int]] = []

    def make_disk(size_bytes: int, latency_ns: int, depth: int) -> Path:
        asked.append((size_bytes, latency_ns, depth))
        assert asked == [(_MIB, 8000, 2)]
        return disk

    monkeypatch.setattr(inside, "make_disk", make_disk)
    disk_facts = {"disk_bytes": _MIB, "disk_latency_ns": 8000, "disk_depth": 2}
    request = {"plan": "mine.toml", "only": "b", **disk_facts}
    said = Surroundings(bench="sim", conditions=("simulated",), repeated=("stalled: x",))
    return {
        **pack({}, said),
        "mine.toml": PLAN.encode(),
        REQUEST_FILE: json.dumps(request).encode(),
    }


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs our native programs: use x86-64")
def test_a_trial_is_measured_and_all_its_files_come_back(
    machine: Machine, request_files: dict[str, bytes], tmp_path: Path
) -> None:
    records = machine.do(MEASURE, request_files)
    assert records[-1].integer("status") == 0, records[-1].payload
    progress = [json.loads(r.payload) for r in records if r.kind == PROGRESS]
    assert {fields["scenario"] for fields in progress} == {"b"}
    assert "b measure 20" in {r.text("where") for r in records if r.kind == PROGRESS}
    for record in records:
        if record.kind == "file":
            receive(record, tmp_path / "copy", record.text("path"))
    stored = read_run(tmp_path / "copy")
    assert stored.info.bench == "sim"
    (trial,) = stored.trials
    assert (trial.status.scenario, trial.status.state) == ("b", TrialState.DONE)
    assert trial.status.conditions[0] == "simulated"
    assert trial.status.repeated == ("stalled: x",)
    assert trial.recorded == 20
    there, here = machine.run_dir, tmp_path / "copy"
    for path in there.rglob("*"):
        if path.is_file():
            assert (here / path.relative_to(there)).read_bytes() == path.read_bytes(), path


def test_a_trial_that_fails_brings_back_why(
    machine: Machine,
    request_files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise CommandFailed("no probe", evidence="gone")

    monkeypatch.setattr("vmjitter.session.trial.measure_on_host", fail)
    records = machine.do(MEASURE, request_files)
    assert json.loads(records[-1].payload)["message"] == "no probe"
    for record in records:
        if record.kind == "file":
            receive(record, tmp_path / "copy", record.text("path"))
    (trial,) = read_run(tmp_path / "copy").trials
    assert trial.status.state is TrialState.FAILED
    assert trial.status.error == "no probe\ngone"


@pytest.fixture
def image(tmp_path: Path) -> GuestImage:
    kernel = make_build(tmp_path / "parts").kernel
    kernel.vmlinuz.write_bytes(b"kernel")
    initramfs = tmp_path / "initramfs"
    initramfs.write_bytes(b"archive")
    return GuestImage(kernel=kernel, initramfs=initramfs, sha256="a" * 64, modules=("x", "y"))


def _write(place: Path, files: Mapping[str, bytes]) -> Path:
    place.mkdir()
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place


def test_what_is_handed_over_is_the_same_there(tmp_path: Path, image: GuestImage) -> None:
    said = Surroundings(bench="sim", conditions=("a", "b"), repeated=("c",))
    files = pack({"one": image, "two": image}, said)
    assert list(files.values()).count(b"kernel") == 1
    there = _write(tmp_path / "there", files)
    assert unpack_surroundings(there) == said
    guest = unpack_guest(there, resolve("paper", Choices()).plan)
    assert guest is not None
    assert (list(guest.images), guest.accel) == (["one", "two"], Accel.KVM)
    got = guest.images["one"]
    assert got.kernel.vmlinuz.read_bytes() == b"kernel"
    assert got.initramfs.read_bytes() == b"archive"
    kernel = dataclasses.replace(got.kernel, vmlinuz=image.kernel.vmlinuz)
    assert dataclasses.replace(got, kernel=kernel, initramfs=image.initramfs) == image


@pytest.mark.parametrize(("asked", "got"), [("kvm", Accel.KVM), ("tcg", Accel.TCG)])
def test_the_plan_may_ask_for_emulation(
    tmp_path: Path, image: GuestImage, asked: str, got: Accel
) -> None:
    there = _write(tmp_path / "there", pack({"one": image}, Surroundings()))
    plan = resolve("paper", Choices(assignments=[f"guest.accel={asked}"])).plan
    guest = unpack_guest(there, plan)
    assert guest is not None
    assert guest.accel is got


def test_without_a_guest_there_is_none(tmp_path: Path) -> None:
    there = _write(tmp_path / "there", pack({}, Surroundings()))
    assert unpack_guest(there, resolve("paper", Choices()).plan) is None


@pytest.mark.parametrize("content", ["no json", "[]", '{"one": {}}', '{"one": {"kernel": 3}}'])
def test_a_broken_description_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / GUEST_FILE).write_text(content)
    with pytest.raises(DataError, match=GUEST_FILE):
        unpack_guest(tmp_path, resolve("paper", Choices()).plan)


def test_missing_surroundings_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=SURROUNDINGS_FILE):
        unpack_surroundings(tmp_path)
