"""A simulated host without a simulator: it writes a script of records to a real tape."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

from vmjitter.bench.inside import REQUEST_FILE
from vmjitter.model.sim import SimSpec
from vmjitter.session.progress import Progress
from vmjitter.sim.build import HostBuild
from vmjitter.sim.host import Job
from vmjitter.sim.tape import END, PROGRESS, Record, TapeReader, TapeWriter

SPEED = 0.25
Step = Record | BaseException
Script = Callable[[str, int], Sequence[Step]]


class FakeSimulator:
    """Takes the place of the class `SimulatedHost`: call it to power a host on.

    Args:
        script: what the host of a scenario does in its n-th attempt, from 0: at each look it
            writes the next record, or fails with the next error.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.jobs: list[tuple[str, Job]] = []
        self.running = 0
        self.most = 0

    def __call__(self, _build: HostBuild, _spec: SimSpec, job: Job, directory: Path) -> FakeHost:
        name = json.loads(job.files[REQUEST_FILE]).get("only", "")
        attempt = len(self.jobs_of(name))
        self.jobs.append((name, job))
        self.running += 1
        self.most = max(self.most, self.running)
        return FakeHost(self, list(self.script(name, attempt)), directory)

    def jobs_of(self, name: str) -> list[Job]:
        """The jobs that the hosts of a scenario got, in order."""
        return [job for scenario, job in self.jobs if scenario == name]


class FakeHost:
    """One host that is running."""

    speed = SPEED

    def __init__(self, simulator: FakeSimulator, steps: list[Step], directory: Path) -> None:
        self._simulator = simulator
        self._steps = steps
        disk = directory / "result.img"
        with disk.open("wb") as stream:
            stream.truncate(8 << 20)
        self._writer, self._reader = TapeWriter(disk), TapeReader(disk)
        self._ready = os.eventfd(1, os.EFD_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._simulator.running -= 1
        self._writer.__exit__()
        self._reader.__exit__()
        os.close(self._ready)

    def fileno(self) -> int:
        """Always readable, so that nobody waits."""
        return self._ready

    def take(self) -> list[Record]:
        """Do the next step."""
        if self._steps:
            step = self._steps.pop(0)
            if isinstance(step, BaseException):
                raise step
            self._writer.write(step)
        return list(self._reader.take())

    def evidence(self) -> str:
        """The console."""
        return "last words of the console"


def file_record(path: str, data: bytes, *, offset: int = 0) -> Record:
    """A part of a file that ends with it."""
    head = {"path": path, "offset": offset, "mode": 0o644, "last": True}
    return Record(kind="file", head=head, payload=data)


def progress_record(progress: Progress) -> Record:
    """What a trial says of itself."""
    return Record(kind=PROGRESS, payload=json.dumps(asdict(progress)).encode())


def end_record(status: int = 0, **message: str) -> Record:
    """The last record."""
    return Record(kind=END, head={"status": status}, payload=json.dumps(message).encode())
