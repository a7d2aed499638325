"""The life of one simulated host, from power-on to the end of its job."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from vmjitter.effects.clock import now_ns
from vmjitter.effects.process import Child
from vmjitter.errors import SimulationLost, SimulationStalled
from vmjitter.model.sim import Clock, SimSpec
from vmjitter.qemu.machine import console_tail, qemu_program
from vmjitter.sim.bochs import Media, bochs_argv, bochs_environment, bochsrc
from vmjitter.sim.build import BOOT_ARGUMENTS, HostBuild, boot_disc
from vmjitter.sim.svm import svm_argv
from vmjitter.sim.tape import PROGRESS, Record, TapeReader, TapeWriter
from vmjitter.units import format_clock

_SPARE_BYTES: Final = 64 << 20
_JOB_SPARE_BYTES: Final = 1 << 20
_IDLE_FACTOR: Final = 10
_MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a simulated host shall do.

    Attributes:
        files: what it gets, by path below its directory ``/job``.
        request: read by `vmjitter.bench.inside`.
        result_bytes: the most that it will write back.
        console: a terminal device for its console, or None for a file.
    """

    request: Record
    files: dict[str, bytes] = field(default_factory=dict)
    result_bytes: int = 0
    console: Path | None = None


def kernel_arguments(spec: SimSpec) -> tuple[str, ...]:
    """The command line of the simulated host's kernel.  Pure."""
    clock = ("vmjitter.pio",) if spec.clock is Clock.VIRTUAL else ()
    return (*BOOT_ARGUMENTS, *clock, f"vmjitter.seed={spec.seed}", *spec.append.split())


class SimulatedHost:
    """A running simulated host; use as a context manager and call `take` again and again.

    Args:
        build: what it is made of.
        spec: the machine.
        job: what it shall do.
        directory: an empty directory for its files.

    Raises:
        MissingCapability: with the real clock, QEMU is not installed.
        CommandFailed: the simulator cannot be started.
    """

    def __init__(self, build: HostBuild, spec: SimSpec, job: Job, directory: Path) -> None:
        self._spec = spec
        self.console = job.console or directory / "console.log"
        self._begin_ns = self._progress_ns = now_ns()
        self._where = "before its first sign of life"
        self.virtual_ns = 0
        self._written = 0
        self._progress_cpu_ns = 0
        self._threads = spec.cpus if spec.clock is Clock.REAL else 1
        self._media = Media(
            disc=_disc(build, spec),
            system=build.system,
            job=directory / "job.img",
            result=directory / "result.img",
            console=self.console,
            log=directory / "simulator.log",
        )
        _write_job(job, self._media.job)
        _make_sparse(self._media.result, job.result_bytes + _SPARE_BYTES)
        with ExitStack() as stack:
            self._tape = stack.enter_context(TapeReader(self._media.result))
            self._child = stack.enter_context(self._start(build, directory))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """A descriptor that is readable once the simulator has ended."""
        return self._child.fileno()

    @property
    def speed(self) -> float:
        """Simulated seconds per real second, since power-on."""
        return self.virtual_ns / max(1, now_ns() - self._begin_ns)

    def take(self) -> list[Record]:
        """What it has written since the last time; the last record of all is of the kind `END`.

        Raises:
            SimulationLost: it ended without having done its job.
            SimulationStalled: no progress for longer than the machine's ``stall_ns``.
        """
        status = self._child.status()
        records = list(self._tape.take())
        for record in records:
            self._note(record)
        if records:
            return records  # what came before an end is handed out before the end is told
        if status is not None:
            raise SimulationLost(
                f"the simulated host ended {self._where}",
                hint="its console is in simulated-host.log; vmjitter sim doctor",
                evidence=self.evidence(),
            )
        self._check_progress()
        return []

    def _check_progress(self) -> None:
        """Raise `SimulationStalled` if nothing has come for too long.

        What counts is the CPU time that the simulator has had meanwhile, so that busy neighbours do
        not make it look stalled; a simulator that uses none is given ten times as long.  The CPUs
        of a simulated host take turns in one thread, so with two of them all takes twice as long.
        """
        if self.console.is_relative_to("/dev"):
            return  # at a console, the user is the watch
        if (size := self.console.stat().st_size if self.console.exists() else 0) != self._written:
            self._written = size
            self._progress()
        turns = self._spec.cpus if self._spec.clock is Clock.VIRTUAL else 1
        used_ns = (self._child.cpu_ns() - self._progress_cpu_ns) // (self._threads * turns)
        waited_ns = now_ns() - self._progress_ns
        if used_ns > self._spec.stall_ns or waited_ns > _IDLE_FACTOR * self._spec.stall_ns:
            raise SimulationStalled(
                f"no progress for {format_clock(waited_ns)} of real time, {self._where}",
                hint="on a slow machine, allow more: --set sim.stall_timeout=300s",
                evidence=self.evidence(),
            )

    def _progress(self) -> None:
        self._progress_ns, self._progress_cpu_ns = now_ns(), self._child.cpu_ns()

    def evidence(self) -> str:
        """The end of its console, and what the simulator had to say."""
        console = "" if self.console.is_relative_to("/dev") else console_tail(self.console)
        return "\n".join(part for part in (console, self._child.output_tail(3)) if part)

    def close(self) -> None:
        """End it at once, whatever it does; nothing in it needs an orderly end."""
        self._child.kill()
        self._stack.close()

    def _note(self, record: Record) -> None:
        """Every record is a sign of life; a report of progress must show some."""
        self.virtual_ns = int(str(record.head.get("virtual_ns", self.virtual_ns)))
        if record.kind == PROGRESS:
            where = str(record.head.get("where", ""))
            if where == self._where:
                return
            self._where = where
        self._progress()

    def _start(self, build: HostBuild, directory: Path) -> Child:
        if self._spec.clock is Clock.REAL:
            argv = svm_argv(
                qemu_program(),
                self._spec,
                self._media,
                kernel=build.kernel.vmlinuz,
                initramfs=build.initramfs,
                append=kernel_arguments(self._spec),
            )
            return Child(argv, log=directory / "qemu.log")
        configuration = directory / "bochsrc"
        configuration.write_text(bochsrc(self._spec, self._media, build.tools))
        return Child(
            bochs_argv(build.tools, configuration),
            log=directory / "bochs.log",
            env=bochs_environment(self._spec, build.tools),
        )


def _disc(build: HostBuild, spec: SimSpec) -> Path | None:
    """What Bochs boots from; QEMU loads kernel and initramfs itself."""
    return boot_disc(build, kernel_arguments(spec)) if spec.clock is Clock.VIRTUAL else None


def _write_job(job: Job, path: Path) -> None:
    size = sum(len(data) for data in job.files.values()) + _JOB_SPARE_BYTES
    _make_sparse(path, size)
    with TapeWriter(path) as tape:
        for name, data in job.files.items():
            tape.write_file(name, data)
        tape.write(job.request)


def _make_sparse(path: Path, size: int) -> None:
    with path.open("wb") as stream:
        stream.truncate(-(-size // _MIB) * _MIB)
