"""The program that disturbs: ``python -m vmjitter.inject.program JOB``, one per trial.

It is a process of its own with real-time priority, away from the guest but for what it does on
purpose.  It prepares, says so by the head of its log, waits for the probe, and disturbs in turn
until the probe has ended.  Each row is written right after what it tells.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TextIO

from vmjitter.effects.realtime import lock_memory
from vmjitter.errors import VmjitterError
from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory
from vmjitter.inject.hands import Hands
from vmjitter.inject.kinds import KINDS
from vmjitter.inject.log import HEADER, Row, to_lines
from vmjitter.inject.monitor import Monitor

_LOOK_NS: Final = 1_000_000
_NAP_NS: Final = 100_000_000
_GOLDEN: Final = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the program is told, as JSON.

    Attributes:
        injections: pairs of kind and length in ns, done in turn.
        distance_ns: from the begin of one to the begin of the next.
        qmp_fd: a socket to a monitor of QEMU of its own.
        log: file to be written, see `vmjitter.inject.log`.
    """

    injections: list[tuple[str, int]]
    distance_ns: int
    own_cpus: list[int]
    vcpu_tid: int
    main_tid: int
    qmp_fd: int
    shm_fd: int
    disk_dir: str
    log: str

    def to_json(self) -> str:
        """The program's argument."""
        return json.dumps(asdict(self))


def main(job: Job) -> None:
    """Do the job; an error ends the program with its text on standard error."""
    hands = Hands(
        own_cpus=frozenset(job.own_cpus),
        vcpu_tid=job.vcpu_tid,
        main_tid=job.main_tid,
        disk_dir=Path(job.disk_dir),
        monitor=Monitor(socket.socket(fileno=job.qmp_fd)),
    )
    for kind, length_ns in job.injections:
        KINDS[kind].prepare(hands, length_ns)
    lock_memory()
    gc.disable()
    with SharedMemory(job.shm_fd) as shm, Path(job.log).open("w", encoding="utf-8") as log:
        hands.become_real_time()
        _write(log, f"{HEADER}\n")
        while int(shm.probe.state) != layout.RUN_RUNNING or not int(shm.probe.t0_ns):
            time.sleep(_LOOK_NS / 1e9)
        _disturb(job, hands, shm, log)


def _disturb(job: Job, hands: Hands, shm: SharedMemory, log: TextIO) -> None:
    number = 0
    due_ns = first_ns = time.monotonic_ns() + job.distance_ns
    while _comes(hands, shm, due_ns):
        kind, length_ns = job.injections[number % len(job.injections)]
        inject = KINDS[kind].inject
        if inject is not None:
            done = inject(hands, length_ns)
            _write(log, to_lines(_rows(number, done)))
        number += 1
        late_ns = time.monotonic_ns() - (first_ns + number * job.distance_ns)
        first_ns += max(0, late_ns)  # after a long one the others come as far apart as before
        due_ns = first_ns + number * job.distance_ns + _shift(number, job.distance_ns)


def _comes(hands: Hands, shm: SharedMemory, due_ns: int) -> bool:
    """Wait for the time; False if the probe ends before."""
    while (now_ns := time.monotonic_ns()) < due_ns and shm.probe.state == layout.RUN_RUNNING:
        hands.sleep_until(min(due_ns, now_ns + _NAP_NS))
    return bool(shm.probe.state == layout.RUN_RUNNING)


def _shift(number: int, distance_ns: int) -> int:
    """Up to an eighth of the distance, so that wake-ups are hit at every phase.

    Multiples of the golden ratio are spread most evenly, however many there are (Knuth, The Art of
    Computer Programming, volume 3, section 6.4).
    """
    return int(number * _GOLDEN % 1 * distance_ns) // 8


def _rows(number: int, done: Iterable[tuple[str, int, int]]) -> Iterable[Row]:
    return (Row(number, kind, begin_ns, end_ns) for kind, begin_ns, end_ns in done)


def _write(log: TextIO, text: str) -> None:
    log.write(text)
    log.flush()


if __name__ == "__main__":
    try:
        main(Job(**json.loads(sys.argv[1])))
    except (VmjitterError, OSError) as problem:
        raise SystemExit(f"{problem}") from problem
