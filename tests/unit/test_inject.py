"""Disturbances on purpose: the plan, the log, the truth about a wake-up, and the real program."""

from __future__ import annotations

import dataclasses
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.test_qemu_cmdline import MACHINE, RESOURCES
from vmjitter.config.resolve import Choices, resolve
from vmjitter.effects.scratch import anonymous_memory
from vmjitter.errors import CommandFailed, DataError, UsageError
from vmjitter.guest import layout
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.inject.kinds import KINDS
from vmjitter.inject.kinds.host_irq import Timers, went_off
from vmjitter.inject.log import HEADER, Row, parse_log, to_lines
from vmjitter.inject.monitor import Monitor
from vmjitter.inject.program import Job
from vmjitter.inject.truth import Taken, judge, taken
from vmjitter.model.inject import Injection
from vmjitter.qemu.cmdline import qemu_argv
from vmjitter.qemu.machine import qemu_program
from vmjitter.session.inject import monitor_pair
from vmjitter.trace.rules import rule_of
from vmjitter.units import Ns

MS = 1_000_000
ROWS = st.lists(
    st.builds(
        lambda number, kind, begin_ns, length_ns: Row(number, kind, begin_ns, begin_ns + length_ns),
        st.integers(0, 9),
        st.sampled_from(sorted(KINDS)),
        st.integers(0, 1000),
        st.integers(0, 500),
    ),
    max_size=8,
)


def _inject(tmp_path: Path, words: str, *more: str) -> tuple[Injection, ...]:
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(("[scenario.only]", f"inject = {words}", *more)) + "\n")
    return resolve(str(path), Choices()).plan.scenarios[0].inject


def test_a_plan_names_kinds_and_lengths(tmp_path: Path) -> None:
    assert _inject(tmp_path, '["cpu-hog=500us", "lock"]') == (
        Injection(kind="cpu-hog", length_ns=Ns(500_000)),
        Injection(kind="lock", length_ns=Ns(KINDS["lock"].length_ns)),
    )


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ('["cpu-hgo"]', "there is no disturbance 'cpu-hgo'", "did you mean 'cpu-hog'"),
        ('["cpu-hog=1s"]', "not between 1ns and 100ms", "2ms"),
        ('["cpu-hog=soon"]', "soon", ""),
    ],
)
def test_a_wrong_disturbance(tmp_path: Path, words: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        _inject(tmp_path, words)
    assert hint in error.value.hint
    assert "scenario.only.inject" in error.value.message


def test_without_a_guest_there_is_nothing_to_disturb(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"scenario\.only\.inject: there is no QEMU"):
        _inject(tmp_path, '["lock"]', 'where = "host"')


def test_the_plan_has_every_kind() -> None:
    plan = resolve("ground-truth", Choices()).plan
    used = {one.kind for scenario in plan.scenarios for one in scenario.inject}
    assert used == set(KINDS)
    assert any(not scenario.inject for scenario in plan.scenarios)
    # with a common multiple only a few phases of the period would be hit
    assert plan.inject_distance_ns % plan.probe.period_ns


def test_every_kind_has_causes_that_there_are() -> None:
    for kind in KINDS.values():
        assert kind.causes
        assert all(rule_of(cause) is not None for cause in kind.causes)
        assert (kind.inject is None) == bool(kind.in_guest)


@given(ROWS)
def test_the_log_survives_its_file(rows: list[Row]) -> None:
    assert list(parse_log(f"{HEADER}\n{to_lines(rows)}", "inject.csv")) == rows


def test_a_log_that_is_cut_off_gives_its_whole_lines() -> None:
    text = f"{HEADER}\n0,lock,5,9\n1,lo"
    assert parse_log(text, "inject.csv") == (Row(0, "lock", 5, 9),)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1"),
        ("number,begin_ns\n", "line 1"),
        (f"{HEADER}\n0,lock,5,9\n1,lock,9,5\n", "line 3"),
        (f"{HEADER}\n0,lock,5\n", "line 2"),
        (f"{HEADER}\n0,lock,five,9\n", "line 2"),
        (f"{HEADER}\n\n0,lock,5,9\n", "line 2"),
    ],
)
def test_a_log_that_is_none(text: str, place: str) -> None:
    with pytest.raises(DataError, match=f"here.csv, {place}"):
        parse_log(text, "here.csv")


def test_two_that_overlap_share_the_doubt() -> None:
    rows = [Row(0, "lock", 0, 60), Row(0, "cpu-hog", 40, 100)]
    assert taken((10, 90), rows) == {"lock": Taken(30, 50), "cpu-hog": Taken(30, 50)}


@given(ROWS, st.integers(0, 1000), st.integers(1, 500))
def test_what_is_taken_has_bounds(rows: list[Row], start: int, length: int) -> None:
    truth = taken((start, start + length), rows)
    assert truth == taken((start, start + length), rows[::-1])
    assert all(0 <= one.least <= one.most <= length for one in truth.values())
    assert sum(one.least for one in truth.values()) <= length
    if len(truth) == 1:
        assert all(one.least == one.most for one in truth.values())


def test_a_right_explanation() -> None:
    rows = [Row(0, "cpu-hog", 0, 2 * MS)]
    verdict = judge((MS, 2 * MS + 20_000), {"run-queue": 990_000, "unexplained": 30_000}, rows)
    assert verdict is not None
    assert (verdict.label, verdict.named, verdict.named_rightly) == ("cpu-hog", "run-queue", True)
    assert (verdict.error_ns, verdict.error_allowed_ns) == (-10_000, 100_000)
    assert verdict.time_right


def test_a_wrong_name_and_a_wrong_time() -> None:
    rows = [Row(0, "cpu-hog", 0, 2 * MS)]
    verdict = judge((MS, 2 * MS), {"host-irq": 700_000, "preempted": 300_000}, rows)
    assert verdict is not None
    assert not verdict.named_rightly
    assert verdict.error_ns == -700_000
    assert not verdict.time_right


def test_twenty_microseconds_are_near_enough() -> None:
    rows = [Row(0, "cpu-hog", 0, 50_000)]
    near = judge((0, 60_000), {"preempted": 31_000, "unexplained": 29_000}, rows)
    far = judge((0, 60_000), {"preempted": 29_000, "unexplained": 31_000}, rows)
    assert near is not None
    assert far is not None
    assert (near.time_right, far.time_right) == (True, False)


def test_two_at_once_and_either_may_be_named() -> None:
    rows = [Row(0, "lock", 0, 2 * MS), Row(0, "cpu-hog", 3 * MS // 2, 7 * MS // 2)]
    verdict = judge((0, 7 * MS // 2), {"lock-wait": 2 * MS, "preempted": 3 * MS // 2}, rows)
    assert verdict is not None
    assert verdict.label == "cpu-hog + lock"
    assert verdict.named_rightly
    assert verdict.error_ns == 0


def test_late_for_another_reason() -> None:
    assert judge((0, 1000), {"unexplained": 1000}, [Row(0, "lock", 900, 5000)]) is None
    assert judge((0, 1000), {"unexplained": 1000}, []) is None


def test_qemu_gets_a_second_monitor_only_if_it_is_needed() -> None:
    plain = qemu_argv("qemu", MACHINE, RESOURCES)
    more = qemu_argv("qemu", MACHINE, dataclasses.replace(RESOURCES, inject_fd=11))
    assert set(more) - set(plain) == {"socket,id=inject,fd=11", "chardev=inject,mode=control"}
    on_the_host, in_the_guest = (
        [Injection(kind=name, length_ns=Ns(MS))] for name in ("lock", "guest-irq-off")
    )
    with monitor_pair(on_the_host) as pair:
        assert len(pair) == 2
    for injections in ((), in_the_guest):
        with monitor_pair(injections) as pair:
            assert pair == ()


@contextmanager
def _qemu(*fds: int) -> Iterator[tuple[socket.socket, int]]:
    """A QEMU with 16 MiB whose processor does not run: our end of its monitor, and its pid."""
    ours, theirs = socket.socketpair()
    argv = [qemu_program(), "-nodefaults", "-no-user-config", "-display", "none", "-S"]
    argv += ["-m", "16M", "-machine", "pc,accel=tcg", "-object", "iothread,id=io"]
    argv += ["-chardev", f"socket,id=m,fd={theirs.fileno()}", "-mon", "chardev=m,mode=control"]
    running = subprocess.Popen(argv, pass_fds=(theirs.fileno(), *fds))
    theirs.close()
    with running, ours:
        try:
            yield ours, running.pid
        finally:
            running.kill()


def test_a_monitor_of_a_real_qemu() -> None:
    with _qemu() as (sock, _):
        monitor = Monitor(sock)
        assert monitor.execute("query-status")["status"] == "prelaunch"
        assert not monitor.answered()
        with pytest.raises(CommandFailed, match="nonsense"):
            monitor.execute("nonsense")
        monitor.execute("stop")  # the reply comes with an event
        monitor.send("quit")
        monitor.wait()
        with pytest.raises(CommandFailed, match="closed"):
            monitor.wait()  # perhaps for another event, then for nothing


@pytest.mark.skipif(os.geteuid() != 0, reason="real-time priority needs root")
def test_the_program_disturbs_a_real_qemu(tmp_path: Path) -> None:
    """What is done is logged, with a fitting length."""
    # not "host-irq": see below
    names = ("cpu-hog", "lock", "disk", "starved", "two", "iothread-starved")
    kinds = [(name, 3 * MS) for name in names]
    log = tmp_path / "inject.csv"
    with anonymous_memory(SHM_BYTES) as fd, SharedMemory(fd) as shm, _qemu() as (sock, pid):
        job = Job(
            injections=kinds,
            distance_ns=30 * MS,
            own_cpus=sorted(os.sched_getaffinity(0)),
            vcpu_tid=pid,
            main_tid=pid,
            qmp_fd=sock.fileno(),
            shm_fd=fd,
            disk_dir=str(tmp_path),
            log=str(log),
        )
        argv = [sys.executable, "-m", "vmjitter.inject.program", job.to_json()]
        with subprocess.Popen(argv, pass_fds=(sock.fileno(), fd)) as running:
            try:
                _until(lambda: log.is_file() and log.read_text().startswith(HEADER))
                begin_ns = shm.probe.t0_ns = time.monotonic_ns()
                shm.probe.state = layout.RUN_RUNNING
                # of the first turn all but the disk, perhaps, which may be too fast to be seen
                _until(lambda: max(_numbers(log), default=0) >= len(kinds) - 1)
            finally:
                if shm.probe.state == layout.RUN_RUNNING:
                    shm.probe.state = layout.RUN_DONE
                else:
                    running.kill()
            assert running.wait(5) == 0
    rows = parse_log(log.read_text(), str(log))
    # a disk that answers at once is not logged
    assert {row.kind for row in rows} - {"disk"} == {*names} - {"disk", "two"}
    assert all(begin_ns < row.begin_ns <= row.end_ns for row in rows)
    hogging = ("cpu-hog", "starved", "iothread-starved")
    hogs = [row.end_ns - row.begin_ns for row in rows if row.kind in hogging]
    assert min(hogs) >= 3 * MS
    assert list(tmp_path.iterdir()) == [log]  # nothing is left behind


def test_timers_go_off_at_one_time() -> None:
    """Not by the program: on a CPU that is never idle they are not set in time."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    timers = Timers()
    timers.make(300)
    timers.make(1)  # the others stay, and so does the limit
    due_ns = time.monotonic_ns() + 50 * MS
    last = timers.set(300, due_ns)
    os.set_blocking(last, True)
    assert os.read(last, 8) == (1).to_bytes(8, sys.byteorder)
    assert time.monotonic_ns() >= due_ns
    timers.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert (soft, hard) == (max(before[0], 300 + 256), before[1])


def test_timers_go_off_in_groups() -> None:
    """The first group is over before the last one is due."""
    timers = Timers()
    timers.make(30)
    due_ns = time.monotonic_ns() + 50 * MS
    last = timers.set(30, due_ns, group=10, apart_ns=30 * MS)
    first = timers.set(10, due_ns)
    os.set_blocking(first, True)
    os.read(first, 8)
    assert time.monotonic_ns() >= due_ns
    assert not went_off(last)
    _until(lambda: went_off(last))
    assert time.monotonic_ns() >= due_ns + 60 * MS
    timers.close()


@pytest.mark.parametrize(
    ("kind", "said"),
    [("disk", "/nowhere"), ("iothread-starved", "/nowhere/log")],
)
def test_what_the_program_cannot_do_it_says(kind: str, said: str) -> None:
    with _qemu() as (sock, pid):
        job = Job(
            injections=[(kind, MS)],
            distance_ns=MS,
            own_cpus=[0],
            vcpu_tid=pid,
            main_tid=pid,
            qmp_fd=sock.fileno(),
            shm_fd=-1,
            disk_dir="/nowhere",
            log="/nowhere/log",
        )
        argv = [sys.executable, "-m", "vmjitter.inject.program", job.to_json()]
        done = subprocess.run(
            argv, pass_fds=[sock.fileno()], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert said in done.stderr


def _numbers(log: Path) -> set[int]:
    return {row.number for row in parse_log(log.read_text(), str(log))}


def _until(condition: object, limit_s: float = 10.0) -> None:
    assert callable(condition)
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.01)


def test_the_time_of_a_storm_holds_the_exits_that_it_causes_but_not_their_name() -> None:
    rows = [Row(0, "interrupt-storm", 0, MS)]
    shares = {"host-irq": 600_000, "kvm-exit": 390_000, "unexplained": 10_000}
    verdict = judge((0, MS), shares, rows)
    assert verdict is not None
    assert (verdict.named_rightly, verdict.time_right, verdict.error_ns) == (True, True, -10_000)
    verdict = judge((0, MS), {"host-irq": 390_000, "kvm-exit": 610_000}, rows)
    assert verdict is not None
    assert not verdict.named_rightly
