"""A process above all real-time threads that gives the host back when vmjitter falls silent.

vmjitter can give QEMU the highest real-time priority.  If that starves everything else, vmjitter
itself included, nobody is left to take it back.  So before such a change a process is started that
stands above: SCHED_DEADLINE, which comes before every SCHED_FIFO thread (sched(7)), with its memory
locked.  vmjitter writes to its standard input four times within the limit.  If nothing comes for
that long, because vmjitter is starved, stopped or hangs, or at once if vmjitter ends without a
word, the process takes real-time policies from the threads that vmjitter gave them to and from
those that inherited them, then takes back all else that this vmjitter changed, and writes to its
log what it did.

It looks only twice within the limit, so that it disturbs a measurement as little as it can.  A
SCHED_DEADLINE thread must be allowed on all CPUs, but the kernel wakes it where it last ran:
therefore it starts out pinned to CPUs that the guest does not use.

Where the kernel refuses SCHED_DEADLINE (no right, an affinity or cpuset that is not all CPUs, no
bandwidth left), it takes SCHED_FIFO 99, and then no thread may get more than 98: of two threads of
the same priority, the one that runs is never interrupted for the other.  Where that is refused too,
it has no priority, and real-time knobs are left out.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final, Self

from vmjitter.effects.clock import now_ns, utc_now
from vmjitter.effects.outliving import Outliving
from vmjitter.effects.realtime import become_deadline, lock_memory
from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import cpu_list, cpu_set, read_policy, threads, write_policy
from vmjitter.errors import CommandFailed, VmjitterError
from vmjitter.tuning.change import Medium
from vmjitter.tuning.journal import Entry, Journal, boot_id
from vmjitter.tuning.media import media
from vmjitter.tuning.media.thread import tid_of
from vmjitter.tuning.tuner import How, Tuner, Undone, owner_of
from vmjitter.units import NS_PER_MS, NS_PER_S, Ns

SILENCE_NS: Final = Ns(10 * NS_PER_S)
"""How long vmjitter may be silent."""

DEADLINE: Final = "deadline"
_FIFO: Final = "fifo"
_REFUSED: Final = "refused"
_RUNTIME_NS: Final = 10 * NS_PER_MS
_PERIOD_NS: Final = 100 * NS_PER_MS
_BEAT: Final = b"."
_END: Final = b"q"
_PIPE_BYTES: Final = 1 << 16
"""All that a pipe holds by default, pipe(7)."""

_LOCK_S: Final = 2.0
"""How long to wait for the journal: a vmjitter that is stopped may hold its lock for ever."""


class _LateError(Exception):
    """The time is up; no `OSError`, which others would take for a failure of a file."""


class Watchdog:
    """The process, as the one who is watched sees it.  Use as a context.

    Args:
        directory: of the journal.
        log: where it writes what it did.
        cpus: on which it should run; those that the guest does not use.
        silence_ns: how long we may be silent.

    Attributes:
        rank: "deadline", "fifo 99", or "refused: ..." with the reason.

    Raises:
        CommandFailed: it cannot be started.
    """

    def __init__(
        self, directory: Path, *, log: Path, cpus: frozenset[int], silence_ns: int = SILENCE_NS
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._log_begin = log.stat().st_size if log.exists() else 0
        owner = owner_of(os.getpid())
        words = (owner, str(directory.absolute()), str(silence_ns), cpu_list(cpus))
        argv = [sys.executable, "-P", "-m", "vmjitter.tuning.watchdog", *words]
        self._process = Outliving(argv, log=log)
        self._done = threading.Event()
        self._beats = threading.Thread(
            target=self._beat, args=(silence_ns / 4 / NS_PER_S,), daemon=True, name="heartbeat"
        )
        try:
            self.rank = self._first_line()
            self._beats.start()
        except BaseException:
            self._process.close(_END)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def highest(self) -> int:
        """The highest real-time priority that it can take away again; 0 for none."""
        top = os.sched_get_priority_max(os.SCHED_FIFO)
        return 0 if self.rank.startswith(_REFUSED) else top if self.rank == DEADLINE else top - 1

    def report(self) -> tuple[str, ...]:
        """What it did, or that it is gone; nothing if all is well."""
        lines = self._log_text().splitlines()
        if not self._process.runs() and not self._done.is_set():
            lines.append("the watchdog has ended: nothing watched over the real-time threads")
        return tuple(lines)

    def close(self) -> None:
        """End it; what was changed stays.  Safe to call twice."""
        self._done.set()
        if self._beats.is_alive():
            self._beats.join()
        self._process.close(_END)

    def _first_line(self) -> str:
        line = self._process.read_line()
        if not line:
            raise CommandFailed("the watchdog did not start", evidence=self._log_text())
        return line

    def _beat(self, every_s: float) -> None:
        while not self._done.is_set() and self._process.write(_BEAT):
            self._done.wait(every_s)

    def _log_text(self) -> str:
        with suppress(OSError), self._log.open("rb") as file:
            file.seek(self._log_begin)
            return file.read().decode(errors="replace").strip()
        return ""


def main(arguments: Sequence[str]) -> None:
    """The process itself.

    Args:
        arguments: the owner as in the journal, the journal's directory, the limit in nanoseconds,
            and CPUs.
    """
    owner, directory, silence_ns, cpus = arguments
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    rank = _rise(cpu_set(cpus))
    with os.fdopen(1, "w", closefd=False) as out:
        out.write(f"{rank}\n")
    giver = GiveBack(Journal(Path(directory)), media(), owner)
    os.set_blocking(0, False)
    watch(0, int(silence_ns), giver)


def watch(pipe: int, silence_ns: int, fire: Callable[[str], None]) -> None:
    """Wait for silence on a pipe that does not block; returns once the other end says so or ends.

    Args:
        pipe: its reading end.
        silence_ns: for how long nothing has to come.
        fire: called with the reason; once per silence.
    """
    poller = select.poll()
    poller.register(pipe, 0)  # wakes for the end of the pipe only: beats wait in it
    heard_ns, fired = now_ns(), False
    while True:
        ended = bool(poller.poll(silence_ns // 2 // NS_PER_MS))
        data = _drain(pipe)
        if _END in data:
            return
        if ended:
            fire("vmjitter has ended without taking back what it changed")
            return
        if data:
            heard_ns, fired = now_ns(), False
        elif not fired and now_ns() - heard_ns > silence_ns:
            silent_s = (now_ns() - heard_ns) / NS_PER_S
            fire(f"nothing was heard of vmjitter for {silent_s:.1f} s")
            fired = True


class GiveBack:
    """Takes back what one process changed.

    Args:
        journal: where it wrote it down.
        media: the places that there are.
        owner: the process, as in the journal.
    """

    def __init__(self, journal: Journal, media: Mapping[str, Medium], owner: str) -> None:
        self._tuner = Tuner(journal, media)
        self._media = media
        self._owner = owner

    def __call__(self, why: str) -> None:
        """Take it back, real-time policies first, and say so on standard error."""
        entries = self._entries()
        if not entries:
            _say(f"{why}; nothing is left to take back")
            return
        # without the journal's lock, which a vmjitter that is stopped may hold
        taken = list(_take_policies([one for one in entries if one.medium == "policy"]))
        _say(f"{why}: the changes of process {self._owner.partition('@')[0]} are taken back")
        for text in taken:
            _say(text)
        try:
            for undone in self._rest(entries):
                if undone.how is not How.UNCHANGED:
                    _say(_told(undone))
        except VmjitterError as error:
            _say(f"{error.message}; {error.hint}")

    def _entries(self) -> tuple[Entry, ...]:
        try:
            every = self._tuner.outstanding()
        except VmjitterError as error:
            _say(f"{error.message}; {error.hint}")
            return ()
        boot = boot_id()
        # what is held by a descriptor ends with the one who holds it
        return tuple(
            one
            for one in every
            if one.owner == self._owner and one.boot == boot and one.medium != "held"
        )

    def _rest(self, entries: Sequence[Entry]) -> tuple[Undone, ...]:
        try:
            with _alarm(_LOCK_S):
                return self._tuner.revert(entries)
        except _LateError:
            _say("the journal is locked by somebody who does not go on; values are put back")
        return tuple(map(self._put_back, self._tuner.look(entries)))

    def _put_back(self, plan: Undone) -> Undone:
        if plan.how is not How.RESTORED:
            return plan
        try:
            self._media[plan.entry.medium].write(plan.entry.place, plan.entry.before)
        except OSError as error:
            return replace(plan, how=How.FAILED, reason=error.strerror or str(error))
        return replace(plan, found=plan.entry.before)


def _rise(cpus: frozenset[int]) -> str:
    """Get above all real-time threads; returns the rank."""
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, cpus)
        os.sched_yield()
    try:
        lock_memory()
    except OSError as error:
        _say(f"the watchdog's memory cannot be locked: {error.strerror}")
    with suppress(OSError):
        # in between, an ordinary thread could be moved to another CPU
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        os.sched_setaffinity(0, allowed)
        become_deadline(_RUNTIME_NS, _PERIOD_NS)
    except OSError as error:
        return _rise_to_fifo(cpus, error)
    return DEADLINE


def _rise_to_fifo(cpus: frozenset[int], first: OSError) -> str:
    with suppress(OSError):
        os.sched_setaffinity(0, cpus)
    top = os.sched_get_priority_max(os.SCHED_FIFO)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(top))
    except OSError as error:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return f"{_REFUSED}: SCHED_DEADLINE: {first.strerror}; SCHED_FIFO: {error.strerror}"
    return f"{_FIFO} {top}"


def _take_policies(entries: Sequence[Entry]) -> Iterator[str]:
    """Take real-time policies from the threads of entries, and from those that inherited them."""
    # the earliest change of a thread knows what it was before all of them
    first = {entry.place: entry for entry in reversed(entries)}
    known = {tid: one for place, one in first.items() if (tid := tid_of(place)) is not None}
    for tid, entry in known.items():
        if changed := _set_policy(tid, entry.before):
            yield f"{entry.title}: {changed}"
    for pid in {_process_of(tid) for tid in known}:
        for one in threads(pid):
            if one.tid not in known and (changed := _set_policy(one.tid, "other")):
                yield f"{one.name} ({one.tid}), which inherited it: {changed}"


def _set_policy(tid: int, wanted: str) -> str:
    """Replace a real-time policy; returns what became what, or nothing."""
    with suppress(OSError):
        now = read_policy(tid)
        if now.startswith(("fifo ", "rr ")) and now != wanted:
            write_policy(tid, wanted)
            return f"{now} became {wanted}"
    return ""


def _process_of(tid: int) -> int:
    text = SysTree().read(f"/proc/{tid}/status") or ""
    for line in text.splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    return tid


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise _LateError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _drain(pipe: int) -> bytes:
    try:
        return os.read(pipe, _PIPE_BYTES)  # in one call: every wake-up is somebody's delay
    except BlockingIOError:
        return b""


def _told(undone: Undone) -> str:
    text = f"{undone.entry.title}: {undone.how.value}"
    return f"{text} {undone.reason or undone.found}".strip()


def _say(text: str) -> None:
    stamp = utc_now().isoformat(timespec="milliseconds")
    with suppress(OSError):
        os.write(2, f"{stamp} {text}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
