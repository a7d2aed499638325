"""Loads on the host beside a guest: the plan, their slots, their programs, and their deaths."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.config.resolve import Choices, resolve
from vmjitter.config.sources import builtin_plans
from vmjitter.effects.process import split_cpus
from vmjitter.effects.scratch import anonymous_memory
from vmjitter.errors import GuestCommandFailed, UsageError
from vmjitter.guest import layout
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.loads.catalog import LOADS, Place, load_argv, place_loads
from vmjitter.loads.progress import LoadMonitor
from vmjitter.model.plan import LoadCpus, LoadSpec, Plan
from vmjitter.session.host_side import HostPrograms, load_place
from vmjitter.session.loads_beside import cpus_for_loads, peer_of
from vmjitter.session.resources import endpoint, host_program
from vmjitter.session.running_loads import Party, RunningLoads

GUEST_LOADS = {
    "none": (),
    "kernel": ("shm", "mem", "sched", "timer", "sem"),
    "io": ("disk-rw", "disk-sync", "disk-meta", "udp"),
}
HOST_LOADS = {
    "none": (),
    "cpu": ("cpu",),
    "memory": ("mem",),
    "disk": ("disk-rw", "disk-sync", "disk-meta"),
    "network": ("udp",),
}
SPECS = st.lists(st.sampled_from(sorted(LOADS)), unique=True).map(
    lambda names: [LoadSpec(name=name, rate=7) for name in names]
)


def _plan(tmp_path: Path, scenario: str, *assignments: str) -> Plan:
    path = tmp_path / "mine.toml"
    path.write_text(f"[scenario.only]\n{scenario}\n")
    return resolve(str(path), Choices(assignments=assignments)).plan


def test_the_matrix_is_complete() -> None:
    plan = resolve("host-load", Choices()).plan
    assert "host-load" in builtin_plans()
    found = {
        scenario.name: (
            tuple(load.name for load in scenario.loads),
            tuple(load.name for load in scenario.host_loads),
        )
        for scenario in plan.scenarios
    }
    assert found == {
        f"{guest}-{host}": (GUEST_LOADS[guest], HOST_LOADS[host])
        for guest, host in itertools.product(GUEST_LOADS, HOST_LOADS)
    }


def test_the_scenarios_of_the_matrix_differ_in_their_loads_only() -> None:
    plan = resolve("host-load", Choices()).plan
    rest = {
        (one.where, one.disk, one.network, one.vhost, one.knobs, one.host_load_cpus)
        for one in plan.scenarios
    }
    assert len(rest) == 1
    assert plan.pair == ("io-none", "io-cpu")


def test_a_scenario_has_no_load_on_the_host_unless_it_says_so(tmp_path: Path) -> None:
    (scenario,) = _plan(tmp_path, 'loads = ["sem"]').scenarios
    assert scenario.host_loads == ()
    assert scenario.host_load_cpus is LoadCpus.GUEST


def test_a_load_on_the_host_has_a_rate_of_its_own_or_that_of_the_guest(tmp_path: Path) -> None:
    text = 'loads = ["mem"]\nhost_loads = ["mem", "cpu"]\nhost_load_cpus = "other"'
    plan = _plan(tmp_path, text, "load.mem.rate=3", "load.cpu.rate=5", "host_load.mem.rate=0")
    (scenario,) = plan.scenarios
    assert scenario.loads == (LoadSpec(name="mem", rate=3),)
    assert scenario.host_loads == (LoadSpec(name="mem", rate=0), LoadSpec(name="cpu", rate=5))
    assert scenario.host_load_cpus is LoadCpus.OTHER


def test_a_plan_with_loads_on_the_host_can_be_run_again(tmp_path: Path) -> None:
    first = resolve("host-load", Choices(only=["io-cpu"]))
    path = tmp_path / "host-load.toml"
    path.write_text(first.toml)
    assert resolve(str(path), Choices()).plan == first.plan


@pytest.mark.parametrize(
    ("scenario", "message", "hint"),
    [
        ('host_loads = ["cpus"]', "there is no load 'cpus'", "did you mean 'cpu'?"),
        ('host_loads = ["cpu", "mem", "cpu"]', "host_loads: cpu is there more than once", "rate"),
        ('loads = ["sem", "sem"]', "loads: sem is there more than once", "rate"),
        ('host_load_cpus = "guests"', "'guests' is not valid here", "did you mean 'guest'?"),
        ('where = "host"\nhost_loads = ["cpu"]', "no guest to run beside", "add them to loads"),
    ],
)
def test_wrong_plans(scenario: str, message: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        _plan(tmp_path, scenario)
    assert "scenario.only" in caught.value.message
    assert hint in (caught.value.hint or "")


def test_loads_on_the_host_need_no_device_of_the_guest(tmp_path: Path) -> None:
    (scenario,) = _plan(tmp_path, 'host_loads = ["disk-rw", "udp"]').scenarios
    assert [load.name for load in scenario.host_loads] == ["disk-rw", "udp"]


@given(SPECS, SPECS)
def test_no_two_loads_share_a_slot_or_a_name(guest: list[LoadSpec], beside: list[LoadSpec]) -> None:
    sides = (
        ("guest", place_loads(guest, beside=False)),
        ("host", place_loads(beside, beside=True)),
    )
    slots: list[int] = []
    names: list[tuple[str, str]] = []
    for side, placed in sides:
        for load in placed:
            slots += [slot for slot, _ in (*load.slots, *load.peer_slots)]
            names += [(side, name) for _, name in load.slots]
            names += [("host", name) for _, name in load.peer_slots]
    assert len(set(slots)) == len(slots)
    assert len(set(names)) == len(names)
    assert all(0 <= slot < layout.LOAD_SLOTS for slot in slots)


def test_more_loads_than_there_are_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="13 slots are wanted, 12 are there"):
        place_loads([LoadSpec(name="sem", rate=1)] * 13, beside=True)


def test_the_command_line_of_a_load_on_the_host() -> None:
    place = load_place(Path("/load"), 9, Path("/var/tmp/here"), "127.0.0.1:4")
    cpu, disk, udp = place_loads(
        [LoadSpec(name=name, rate=0) for name in ("cpu", "disk-rw", "udp")], beside=True
    )
    assert load_argv(cpu.spec, place, cpu.slot) == (
        "/load", "cpu", "--rate", "0", "--shm", "/proc/self/fd/9", "--slot", "12", "--quiet"
    )  # fmt: skip
    assert "--dir" in load_argv(disk.spec, place, disk.slot)
    assert "127.0.0.1:4" in load_argv(udp.spec, place, udp.slot)
    assert (udp.slot, udp.peer_slot) == (14, 26)


def test_the_cpus_of_loads_on_the_host() -> None:
    usable = frozenset(os.sched_getaffinity(0))
    guest, other = split_cpus(1)
    assert cpus_for_loads(LoadCpus.ANY, 1)[0] == usable
    if len(usable) > 1:
        assert cpus_for_loads(LoadCpus.GUEST, 1)[0] == guest
        assert cpus_for_loads(LoadCpus.OTHER, 1)[0] == other
        assert not guest & other
    for wanted in LoadCpus:  # a guest that may use any CPU leaves none over
        assert cpus_for_loads(wanted, 0) == (usable, ", as the guest")


def test_the_rates_of_both_sides_are_told_apart() -> None:
    with anonymous_memory(SHM_BYTES) as fd, SharedMemory(fd) as shm:
        monitor = LoadMonitor(shm)
        for slot, side, ops in ((0, "guest", 3), (12, "host", 4)):
            monitor.add(slot, "mem", side)
            shm.loads[slot].history[0] = ops
            shm.loads[slot].second = 1
        monitor.poll()
        assert monitor.rates() == {"mem": 3.0, "mem (host)": 4.0}


@contextmanager
def _beside(shm_fd: int, tmp_path: Path, *names: str) -> Iterator[Party]:
    place = load_place(host_program("load"), shm_fd, tmp_path, "127.0.0.1:9")
    log = tmp_path / "log"
    log.touch()
    cpu = str(max(os.sched_getaffinity(0)))
    with HostPrograms(place, shm_fd, log, cpu) as side:
        specs = [LoadSpec(name=name, rate=50) for name in names]
        yield Party(side=side, loads=place_loads(specs, beside=True))


def _quiet(_: str) -> None:
    """Nobody wants to know how far it is."""


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_they_run_where_they_should_and_end_when_asked(tmp_path: Path) -> None:
    with (
        anonymous_memory(SHM_BYTES) as fd,
        SharedMemory(fd) as shm,
        _beside(fd, tmp_path, "cpu", "disk-rw") as party,
    ):
        running = RunningLoads(shm, time.sleep)
        told: list[str] = []
        running.start(party, told.append)
        assert told
        assert set(told) <= {"loads 0/2", "loads 1/2", "loads 2/2"}
        pids = [int(shm.loads[slot].pid) for slot in (12, 13)]
        assert {frozenset(os.sched_getaffinity(pid)) for pid in pids} == {
            frozenset({max(os.sched_getaffinity(0))})
        }
        counted = running.counted()
        running.stop()
        _until(lambda: not any(party.side.runs(pid) for pid in pids))
        assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert [(one.name, one.side, one.state) for one in counted] == [
        ("cpu", "host", "running"),
        ("disk-rw", "host", "running"),
    ]
    assert all(one.history[0] > 0 for one in counted)


def test_a_killed_one_is_found_dead_and_not_waited_for(tmp_path: Path) -> None:
    with (
        anonymous_memory(SHM_BYTES) as fd,
        SharedMemory(fd) as shm,
        _beside(fd, tmp_path, "cpu", "mem") as party,
    ):
        running = RunningLoads(shm, time.sleep)
        running.start(party, _quiet)
        pid = int(shm.loads[12].pid)
        os.kill(pid, signal.SIGKILL)
        _until(lambda: not party.side.runs(pid))
        assert [one.state for one in running.counted()] == ["died", "running"]
        begin = time.monotonic()
        running.stop()
        assert time.monotonic() - begin < 5


def test_one_that_ends_at_once_is_an_error_with_its_words(tmp_path: Path) -> None:
    with (
        anonymous_memory(SHM_BYTES) as fd,
        SharedMemory(fd) as shm,
        _beside(fd, tmp_path, "cpu") as party,
    ):
        place = Place(program="/nonexistent", shm_path="", disk_dir="", peer="")
        party.side.place = place  # type: ignore[misc]
        with pytest.raises(
            GuestCommandFailed, match="did not start on the host: cpu ended at once"
        ) as caught:
            RunningLoads(shm, time.sleep).start(party, _quiet)
        assert "/nonexistent" in caught.value.evidence


def test_one_that_fails_says_why(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with (
        anonymous_memory(SHM_BYTES) as fd,
        SharedMemory(fd) as shm,
        _beside(fd, work, "disk-rw") as party,
    ):
        party.side.place = load_place(  # type: ignore[misc]
            host_program("load"), fd, tmp_path / "missing", ""
        )
        with pytest.raises(GuestCommandFailed, match=r"disk-rw: .*No such file or directory"):
            RunningLoads(shm, time.sleep).start(party, _quiet)


def test_the_other_end_of_udp_is_up_before_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with anonymous_memory(SHM_BYTES) as fd, SharedMemory(fd) as shm:
        end = endpoint(None, from_guest=False)
        program = host_program("load")
        place = load_place(program, fd, tmp_path, end.reached_at)
        loads = place_loads([LoadSpec(name="udp", rate=200)], beside=True)
        with HostPrograms(place, fd, log, str(max(os.sched_getaffinity(0)))) as side:
            party = Party(side=side, loads=loads, peer=peer_of(program, fd, end, loads))
            running = RunningLoads(shm, time.sleep)
            running.start(party, _quiet)
            counted = running.counted()
            running.stop()
    assert [one.name for one in counted] == [
        "udp-send", "udp-recv", "udp-send over lo (peer)", "udp-recv over lo (peer)"
    ]  # fmt: skip
    assert [one.errors for one in counted] == [0, 0, 0, 0]
