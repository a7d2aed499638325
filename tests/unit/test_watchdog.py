"""The host comes back when vmjitter falls silent, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import read_policy, thread, threads
from vmjitter.tuning.change import Change, capped
from vmjitter.tuning.journal import Journal
from vmjitter.tuning.media import media
from vmjitter.tuning.media.thread import thread_place
from vmjitter.tuning.tuner import Tuner, owner_of
from vmjitter.tuning.watchdog import DEADLINE, GiveBack, Watchdog, watch

MS = 1_000_000
SILENCE_NS = 300 * MS
THROTTLING = SysTree().read("/proc/sys/kernel/sched_rt_runtime_us")
CPUS = sorted(os.sched_getaffinity(0))

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for real-time: run as root")
needs_mercy = pytest.mark.skipif(
    len(CPUS) < 2 or THROTTLING in {None, "-1"},
    reason="a failure would take the machine down: needs two CPUs, and throttling: "
    "sysctl kernel.sched_rt_runtime_us=950000",
)

HOG = """
import os, signal, sys, threading, time
signal.alarm(30)  # ends it whatever happens
os.sched_setaffinity(0, {int(sys.argv[1])})
print("ready", flush=True)
while os.sched_getscheduler(0) != os.SCHED_FIFO:
    time.sleep(0.01)
threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()
while True:
    pass
"""
"""Spins for ever once it is real-time, with a thread that inherits its priority."""

CONTROLLER = """
import os, signal, sys, time
from pathlib import Path
from vmjitter.effects.threads import thread
from vmjitter.tuning.change import Change
from vmjitter.tuning.journal import Journal
from vmjitter.tuning.media import media
from vmjitter.tuning.media.thread import thread_place
from vmjitter.tuning.tuner import Tuner
from vmjitter.tuning.watchdog import Watchdog

root, how, hog, cpu, silence_ns = sys.argv[1:]
state = Path(root) / "state"
signal.alarm(30)
with Watchdog(state, log=Path(root) / "log", cpus=frozenset({int(cpu)}),
              silence_ns=int(silence_ns)) as dog:
    journal = Journal(state)
    tuner = Tuner(journal, media())
    os.sched_setaffinity(0, {int(cpu)})
    for task in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(task.name), {int(cpu)})
    tuner.apply("file", [Change(medium="file", place=f"{root}/setting",
                               wanted="2")])
    print(dog.rank, dog.pid, flush=True)
    tuner.apply("hog", [Change(medium="policy", place=thread_place(thread(int(hog))),
                               wanted=f"fifo {dog.highest}")])
    print("applied", flush=True)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "stop with lock":
        with journal.exclusive():
            os.kill(os.getpid(), signal.SIGSTOP)
    if how == "end":
        sys.exit()
    while True:
        time.sleep(0.01)
"""


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 12) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - begin


@contextmanager
def program(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", text, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)
        child.kill()
        child.communicate()


@pytest.fixture
def hog() -> Iterator[int]:
    with program(HOG, str(CPUS[-1])) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child.pid


@pytest.fixture
def controller(tmp_path: Path, hog: int) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    (tmp_path / "setting").write_text("1")
    stack = []

    def start(how: str) -> subprocess.Popen[str]:
        cpu = CPUS[-1] if how == "starve" else CPUS[0]  # the hog is on the last
        words = (str(tmp_path), how, str(hog), str(cpu), str(SILENCE_NS))
        manager = program(CONTROLLER, *words)
        stack.append(manager)
        child = manager.__enter__()
        assert child.stdout is not None
        assert child.stdout.readline().startswith(DEADLINE), "the watchdog's rank"
        return child

    yield start
    for manager in stack:
        manager.__exit__(None, None, None)


def policies(pid: int) -> set[str]:
    return {read_policy(one.tid) for one in threads(pid)}


def given_back(tmp_path: Path, hog: int) -> bool:
    return policies(hog) == {"other"} and (tmp_path / "setting").read_text() == "1"


@pytest.mark.root
@needs_root
@needs_mercy
def test_a_starved_controller_gets_its_host_back(
    tmp_path: Path, hog: int, controller: Callable[[str], subprocess.Popen[str]]
) -> None:
    child = controller("starve")
    wait_for(lambda: "fifo 99" in policies(hog), "the hog at the highest priority")
    wait_for(lambda: len(threads(hog)) == 2, "a thread that inherits it")
    # both spin at FIFO 99 on the controller's CPU: it gets 50 ms in a second at most
    wait_for(lambda: given_back(tmp_path, hog), "the host is given back")
    assert child.poll() is None
    # it acts first and writes afterwards
    wait_for(lambda: "/setting: restored 1" in (tmp_path / "log").read_text(), "the log")
    wait_for(lambda: not Journal(tmp_path / "state").entries(), "the journal's end")
    log = (tmp_path / "log").read_text()
    assert "nothing was heard of vmjitter for 0." in log
    assert "fifo 99 became other" in log
    assert "which inherited it: fifo 99 became other" in log


@pytest.mark.root
@needs_root
@needs_mercy
@pytest.mark.parametrize("how", ["stop", "stop with lock"])
def test_a_stopped_controller_gets_its_host_back(
    tmp_path: Path, hog: int, controller: Callable[[str], subprocess.Popen[str]], how: str
) -> None:
    child = controller(how)
    wait_for(lambda: "fifo 99" in policies(hog), "the hog at the highest priority")
    wait_for(lambda: given_back(tmp_path, hog), "the host is given back")
    os.kill(child.pid, signal.SIGCONT)
    tuner = Tuner(Journal(tmp_path / "state"), media())
    tuner.revert(tuner.outstanding())  # where the lock was held, this was still to be noted
    assert given_back(tmp_path, hog)
    assert Journal(tmp_path / "state").entries() == ()
    assert ("the journal is locked" in (tmp_path / "log").read_text()) == ("lock" in how)


@pytest.mark.root
@needs_root
@needs_mercy
def test_a_killed_controller_leaves_nothing(
    tmp_path: Path, hog: int, controller: Callable[[str], subprocess.Popen[str]]
) -> None:
    child = controller("wait")
    assert child.stdout is not None
    assert child.stdout.readline() == "applied\n"
    child.kill()
    took_s = wait_for(lambda: given_back(tmp_path, hog), "the host is given back")
    assert took_s < 5
    assert "vmjitter has ended without" in (tmp_path / "log").read_text()


@pytest.mark.root
@needs_root
@needs_mercy
def test_an_orderly_end_leaves_what_was_set(
    tmp_path: Path, hog: int, controller: Callable[[str], subprocess.Popen[str]]
) -> None:
    child = controller("end")
    assert child.wait(20) == 0
    assert (tmp_path / "setting").read_text() == "2"
    assert "fifo 99" in policies(hog)
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.root
@needs_root
def test_it_stands_above_all_with_its_memory_locked_and_wakes_rarely(tmp_path: Path) -> None:
    cpu = CPUS[0]
    with Watchdog(
        tmp_path, log=tmp_path / "log", cpus=frozenset({cpu}), silence_ns=SILENCE_NS
    ) as dog:
        status = SysTree().read(f"/proc/{dog.pid}/status") or ""
        assert (dog.rank, dog.highest, read_policy(dog.pid)) == ("deadline", 99, "deadline")
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert int(fields["VmLck"].split()[0]) > 0
        time.sleep(1.0)
        stat = (SysTree().read(f"/proc/{dog.pid}/stat") or "").rpartition(")")[2].split()
        assert int(stat[36]) == cpu, "it stays on the CPU that it was told"
        after = SysTree().read(f"/proc/{dog.pid}/status") or ""
        woken = dict(line.split(":\t", 1) for line in after.splitlines())
        times = int(woken["voluntary_ctxt_switches"]) - int(fields["voluntary_ctxt_switches"])
        assert times <= 10, "twice in 300 ms"
    assert dog.report() == ()
    assert thread(dog.pid) is None


@pytest.mark.root
@needs_root
def test_where_a_deadline_is_refused_it_is_fifo_and_others_stay_below(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("needs two CPUs: with one, it is allowed on all of them")
    os.sched_setaffinity(0, {CPUS[0]})  # not all CPUs: sched(7)
    try:
        with Watchdog(tmp_path, log=tmp_path / "log", cpus=frozenset({CPUS[0]})) as dog:
            assert (dog.rank, dog.highest) == ("fifo 99", 98)
            assert read_policy(dog.pid) == "fifo 99"
    finally:
        os.sched_setaffinity(0, before)
    changes = [
        Change(medium="policy", place="1@1", wanted=value)
        for value in ("fifo 99", "rr 99", "fifo 1", "other")
    ]
    wanted = ["fifo 98", "rr 98", "fifo 1", "other"]
    assert [one.wanted for one in capped(changes, dog.highest)] == wanted


@pytest.mark.root
@needs_root
def test_without_rights_it_has_no_rank_and_says_why() -> None:
    program = (
        "import os, resource; from vmjitter.tuning import watchdog; "
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0)); "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        "print(watchdog._rise(frozenset(os.sched_getaffinity(0))), os.sched_getscheduler(0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    refused = "Operation not permitted"
    assert done.stdout == f"refused: SCHED_DEADLINE: {refused}; SCHED_FIFO: {refused} 0\n"


@pytest.mark.root
@needs_root
def test_a_watchdog_that_was_killed_is_missed(tmp_path: Path) -> None:
    with Watchdog(tmp_path, log=tmp_path / "log", cpus=frozenset({CPUS[0]})) as dog:
        os.kill(dog.pid, signal.SIGKILL)
        wait_for(lambda: bool(dog.report()), "its end is noticed")
        assert "the watchdog has ended" in dog.report()[-1]


class Ear:
    """The reading end of a pipe, with what `watch` says about it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.said: list[str] = []
        self.script: list[bytes | None] = []

    def fire(self, why: str) -> None:
        self.said.append(why)
        self.next()

    def next(self) -> None:
        while self.script and (data := self.script.pop(0)) != b"wait":
            if data is None:
                os.close(self.writing)
            else:
                os.write(self.writing, data)


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    for handle in (ear.reading, ear.writing):
        with suppress(OSError):
            os.close(handle)


def test_silence_fires_once_and_a_beat_arms_it_again(ear: Ear) -> None:
    ear.script = [b".", b"wait", b".", b"wait", b"q", b"wait"]
    ear.next()
    watch(ear.reading, 20 * MS, ear.fire)
    assert len(ear.said) == 2
    assert all("nothing was heard" in text for text in ear.said)


def test_the_end_of_the_pipe_fires_at_once(ear: Ear) -> None:
    ear.script = [b".", None]
    ear.next()
    begin = time.monotonic()
    watch(ear.reading, 60_000 * MS, ear.fire)
    assert time.monotonic() - begin < 5
    [said] = ear.said
    assert "has ended without" in said


def test_goodbye_before_the_end_does_not_fire(ear: Ear) -> None:
    ear.script = [b".", b"q", None]
    ear.next()
    watch(ear.reading, 60_000 * MS, ear.fire)
    assert ear.said == []


def test_only_what_the_silent_one_changed_is_given_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("1")
    places = media(SysTree(root=tmp_path))
    journal = Journal(tmp_path / "state")
    silent, other = Tuner(journal, places), Tuner(journal, places)
    other.owner = owner_of(os.getppid())
    silent.apply("knob", [Change(medium="file", place=f"/{one}", wanted="2") for one in "ab"])
    other.apply("knob", [Change(medium="file", place="/c", wanted="2")])
    (tmp_path / "b").write_text("3")
    GiveBack(journal, places, silent.owner)("silence")
    assert [(tmp_path / name).read_text() for name in "abc"] == ["1", "3", "2"]
    said = capfd.readouterr().err
    assert f"silence: the changes of process {os.getpid()} are taken back" in said
    assert "/a: restored" in said
    assert "/b: left alone: changed by somebody else since" in said
    assert [one.place for one in other.outstanding()] == ["/c"]


def test_nothing_to_give_back_is_said_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    GiveBack(Journal(tmp_path), media(SysTree(root=tmp_path)), "1@1")("silence")
    assert "silence; nothing is left to take back" in capfd.readouterr().err


def test_a_journal_that_cannot_be_read_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tuning.jsonl").write_text("nonsense\n")
    GiveBack(Journal(tmp_path), media(SysTree(root=tmp_path)), "1@1")("silence")
    assert "line 1" in capfd.readouterr().err


def test_the_place_of_a_thread_names_it_for_good() -> None:
    me = thread(os.getpid())
    assert me is not None
    assert owner_of(os.getpid()) == thread_place(me) == f"{me.tid}@{me.started}"
