"""The bench `sim`: every trial of a plan in a simulated host of its own, several at a time.

Trials do not disturb each other, because the simulated host's time does not depend on ours.  Of a
trial everything is stored while it runs, so that an end before its time loses nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import vmjitter
from vmjitter.bench.handover import pack
from vmjitter.bench.inside import MEASURE, REQUEST_FILE
from vmjitter.bench.local import Surroundings
from vmjitter.config.resolve import Resolved
from vmjitter.effects.clock import now_ns, utc_now
from vmjitter.effects.scratch import scratch_directory
from vmjitter.errors import SimulationLost, SimulationStalled, UsageError, VmjitterError
from vmjitter.guest.image import GuestImage
from vmjitter.model.plan import Accel, Plan, Scenario, Turn
from vmjitter.model.run import RUN_FORMAT, RunInfo, TrialState
from vmjitter.model.sim import Bench, Clock, SimSpec
from vmjitter.session.prepare import Say, guest_images, kernel_facts
from vmjitter.session.progress import Progress, Report
from vmjitter.session.trial import first_status
from vmjitter.sim.build import HostBuild, build
from vmjitter.sim.host import Job, SimulatedHost, kernel_arguments
from vmjitter.sim.mirror import receive
from vmjitter.sim.tape import END, PROGRESS, Record
from vmjitter.store.atomic import write_text, writing
from vmjitter.store.rundir import STATUS_FILE, TRIALS_DIR, RunWriter, TrialWriter
from vmjitter.units import format_ns

CONDITIONS: Final[Mapping[Clock, str]] = {
    Clock.VIRTUAL: (
        "simulated host, virtual time: no caches, an instruction is a nanosecond, an exit costs "
        "what its instructions cost"
    ),
    Clock.REAL: (
        "simulated host, real clock: emulated processors, every path is taken, times mean nothing"
    ),
}
"""What every table, figure and file of a simulated run says, by its clock."""

HOST_LOG: Final = "simulated-host.log"
_LOOK_S: Final = 0.2
_BYTES_PER_SAMPLE: Final = 64
"""A sample has 16 bytes; the rest is for records' heads and for sending it again."""

_TRACE_COPIES: Final = 3
"""Traces of host, guest and QEMU."""


@dataclass(kw_only=True)
class _Trial:
    """One trial on its way."""

    index: int
    turn: Turn
    repeated: list[str] = field(default_factory=list)
    host: SimulatedHost | None = None
    stack: ExitStack = field(default_factory=ExitStack)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    begin_ns: int = 0
    heard: bool = False
    speed: float = 0.0

    @property
    def scenario(self) -> Scenario:
        return self.turn.scenario

    @property
    def name(self) -> str:
        return f"{self.scenario.name}.{self.turn.round}" if self.turn.round else self.scenario.name


def run_plan(resolved: Resolved, output: Path, *, say: Say, report: Report) -> None:
    """Measure every scenario of a plan in simulated hosts into the run directory ``output``.

    Args:
        say: told what is being prepared, before the first trial.
        report: told about each running trial.

    Raises:
        VmjitterError: a trial failed; what was measured stays readable.
    """
    plan = resolved.plan
    images = guest_images(plan, say)
    _check_guests(plan, images)
    host_build = build(plan.sim.kernel, say=say)
    info = _info(plan, host_build)
    writer = RunWriter.create(output, info, resolved.toml)
    bench = _SimBench(resolved, writer, images, host_build, report)
    state = TrialState.FAILED
    try:
        bench.run()
        state = TrialState.DONE
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            state = TrialState.INTERRUPTED
        bench.say_why(error)
        raise
    finally:
        writer.write_info(dataclasses.replace(bench.complete(info), state=state))


def _check_guests(plan: Plan, images: Mapping[str, GuestImage]) -> None:
    """Refuse at once what would end in a boot timeout."""
    narrow = [name for name, image in images.items() if image.kernel.arch == "i386"]
    if plan.sim.clock is Clock.REAL and narrow and plan.guest.accel is not Accel.TCG:
        raise UsageError(
            f"with --clock real the 32-bit guest of {', '.join(narrow)} does not start: QEMU's "
            "emulation of SVM runs 64-bit guests only",
            hint="take a 64-bit kernel, --set guest.kernel=debian-rt-amd64 or "
            f"--set scenario.{narrow[0]}.kernel=debian-rt-amd64; or --clock virtual",
        )


def _info(plan: Plan, host_build: HostBuild) -> RunInfo:
    return RunInfo(
        format=RUN_FORMAT,
        vmjitter=vmjitter.__version__,
        plan=plan.name,
        title=plan.title,
        created_utc=utc_now().isoformat(timespec="seconds"),
        state=TrialState.RUNNING,
        deadline_ns=plan.target.deadline_ns,
        max_misses_per_hour=plan.target.max_misses_per_hour,
        confidence_percent=plan.target.confidence_percent,
        pair=plan.pair,
        scenarios=tuple(scenario.name for scenario in plan.scenarios),
        bench=Bench.SIM.value,
        simulation={**_machine_facts(plan), **host_build.facts()},
    )


def _machine_facts(plan: Plan) -> dict[str, str]:
    spec = plan.sim
    return {
        "clock": spec.clock.value,
        "model": CONDITIONS[spec.clock],
        "machine": spec.machine,
        "title": spec.title,
        "cpus": str(spec.cpus),
        "cpu_model": spec.cpu_model if spec.clock is Clock.VIRTUAL else "QEMU max,+svm",
        "quantum": str(spec.quantum) if spec.cpus > 1 else "",
        "seed": str(spec.seed),
        "memory": f"{spec.memory_bytes >> 20} MiB",
        "command_line": " ".join(kernel_arguments(spec)),
        "disk_latency": format_ns(spec.disk_latency_ns),
        "disk_depth": str(spec.disk_depth),
        "wire_delay": format_ns(plan.wire.delay_ns),
    }


class _SimBench:
    """Keeps as many trials running as the plan allows, until all are done."""

    def __init__(
        self,
        resolved: Resolved,
        writer: RunWriter,
        images: Mapping[str, GuestImage],
        host_build: HostBuild,
        report: Report,
    ) -> None:
        self._resolved = resolved
        self._plan = resolved.plan
        self._writer = writer
        self._images = images
        self._build = host_build
        self._report = report
        self._failing: _Trial | None = None
        self._trials = [
            _Trial(index=index, turn=turn) for index, turn in enumerate(self._plan.turns, start=1)
        ]

    def run(self) -> None:
        """Run all trials.

        Raises:
            VmjitterError: the first one that failed; the others are ended.
        """
        waiting = list(self._trials)
        running: list[_Trial] = []
        jobs = self._plan.sim.jobs or len(os.sched_getaffinity(0))
        with ExitStack() as stack:
            for trial in self._trials:
                stack.push(trial.stack)
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(waiting.pop(0))
                    self._start(running[-1])
                hosts = [trial.host for trial in running if trial.host is not None]
                select.select(hosts, [], [], _LOOK_S)
                running = [trial for trial in running if not self._look(trial)]

    def say_why(self, error: BaseException) -> None:
        """Put the reason into the status of every trial that did not come to its end."""
        interrupted = isinstance(error, KeyboardInterrupt)
        for trial in self._trials:
            file = self._directory(trial) / STATUS_FILE
            status = json.loads(file.read_bytes()) if file.exists() else {}
            if status.get("state") != TrialState.RUNNING.value:
                continue
            state = TrialState.FAILED if trial is self._failing else TrialState.INTERRUPTED
            told = "interrupted by the user" if interrupted else str(error)
            why = told if interrupted or trial is self._failing else "another trial failed"
            write_text(file, json.dumps({**status, "state": state.value, "error": why}, indent=2))

    def complete(self, info: RunInfo) -> RunInfo:
        """The head of the run with what the simulated hosts said about themselves."""
        host = next((trial.facts["host"] for trial in self._trials if "host" in trial.facts), {})
        qemu: dict[str, str] = {}
        for trial in self._trials:
            qemu |= trial.facts.get("qemu", {})
        if qemu:  # each simulated host knows its own kernel only
            qemu |= kernel_facts(self._images)
        speeds = {
            f"real_s_per_virtual_s.{trial.name}": f"{1 / trial.speed:.1f}"
            for trial in self._trials
            if trial.speed
        }
        return dataclasses.replace(
            info, host=host, qemu=qemu, simulation={**info.simulation, **speeds}
        )

    def _start(self, trial: _Trial) -> None:
        """Power a simulated host on for a trial."""
        trial.begin_ns, trial.heard = now_ns(), False
        self._tell(trial)
        status = dataclasses.replace(
            first_status(self._plan, trial.turn),
            state=TrialState.RUNNING,
            conditions=(CONDITIONS[self._plan.sim.clock],),
            repeated=tuple(trial.repeated),
        )
        if trial.repeated:
            TrialWriter(self._directory(trial)).write_status(status)
        else:
            self._writer.start_trial(trial.index, status).close()
        with writing(self._writer.path):
            directory = trial.stack.enter_context(scratch_directory(self._writer.path, ".sim-"))
            host = SimulatedHost(self._build, self._spec(trial), self._job(trial), directory)
        trial.stack.callback(self._keep_log, trial, host)
        trial.host = trial.stack.enter_context(host)

    def _look(self, trial: _Trial) -> bool:
        """Take what a trial has brought; True when it is done."""
        if trial.host is None:
            return True
        self._failing = trial
        try:
            records = trial.host.take()
        except SimulationLost as error:
            self._repeat(trial, error)
            self._failing = None
            return False
        ended = False
        if not trial.heard:
            self._tell(trial)
        for record in records:
            ended = self._accept(trial, record) or ended
        if ended:
            trial.speed = trial.host.speed
            trial.stack.close()
        self._failing = None
        return ended

    def _accept(self, trial: _Trial, record: Record) -> bool:
        if record.kind == "file":
            self._store(trial, record)
        elif record.kind == PROGRESS and trial.host is not None:
            trial.heard = True
            fields = json.loads(record.payload)
            self._report(Progress(**(fields | {"speed": trial.host.speed})))
        elif record.kind == END:
            self._check(record)
            return True
        return False

    def _store(self, trial: _Trial, record: Record) -> None:
        """Files of the trial go to its directory; of the run's head, the facts are taken."""
        parts = Path(record.text("path")).parts
        if parts[0] == TRIALS_DIR:
            with writing(self._directory(trial)):
                receive(record, self._directory(trial), str(Path(*parts[2:])))
        elif parts == ("run.json",):
            head = json.loads(record.payload)
            trial.facts = {"host": head["host"], "qemu": head["qemu"]}

    def _check(self, record: Record) -> None:
        if record.integer("status") != 0:
            said = {"message": "the simulated host failed", "hint": "", "evidence": ""}
            raise VmjitterError(**(said | json.loads(record.payload)))

    def _repeat(self, trial: _Trial, error: SimulationLost) -> None:
        """Begin a trial again that its simulator let down.

        Raises:
            SimulationLost: it has been repeated often enough.
        """
        if len(trial.repeated) >= self._plan.sim.repeats:
            raise error
        trial.stack.close()
        self._set_aside(trial)
        kind = "stalled" if isinstance(error, SimulationStalled) else "lost"
        trial.repeated.append(f"{kind}: {error.message}")
        self._start(trial)

    def _set_aside(self, trial: _Trial) -> None:
        """Of an attempt that is repeated only the log stays."""
        directory = self._directory(trial)
        for path in directory.iterdir():
            if path.name == HOST_LOG:
                path.rename(directory / f"simulated-host-attempt-{len(trial.repeated) + 1}.log")
            elif path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith("simulated-host-"):
                path.unlink()

    def _spec(self, trial: _Trial) -> SimSpec:
        """The simulated host of a trial.

        With the same seed two rounds would be the same to the last bit, and prove nothing.
        """
        spec = self._plan.sim
        return dataclasses.replace(spec, seed=spec.seed + max(0, trial.turn.round - 1))

    def _job(self, trial: _Trial) -> Job:
        spec = self._plan.sim
        name = trial.scenario.name
        surroundings = Surroundings(
            bench=Bench.SIM.value,
            conditions=(CONDITIONS[spec.clock],),
            repeated=tuple(trial.repeated),
            round=trial.turn.round,
        )
        request = {
            "plan": f"{self._plan.name}.toml",
            "only": name,
            "disk_bytes": spec.disk_bytes,
            "disk_latency_ns": spec.disk_latency_ns,
            "disk_depth": spec.disk_depth,
        }
        images = {key: image for key, image in self._images.items() if key == name}
        files = pack(images, surroundings)
        files[request["plan"]] = self._resolved.toml.encode()  # type: ignore[index]
        files[REQUEST_FILE] = json.dumps(request).encode()
        return Job(
            request=Record(kind=MEASURE),
            files=files,
            result_bytes=self._plan.probe.loops * _BYTES_PER_SAMPLE
            + (_TRACE_COPIES * self._plan.trace.keep_bytes if self._plan.trace.active else 0),
        )

    def _directory(self, trial: _Trial) -> Path:
        return self._writer.path / TRIALS_DIR / f"{trial.index:02}-{trial.scenario.name}"

    def _keep_log(self, trial: _Trial, host: SimulatedHost) -> None:
        (self._directory(trial) / HOST_LOG).write_text(host.evidence() + "\n")

    def _tell(self, trial: _Trial) -> None:
        """Until the simulated host speaks for itself, say how long it has been booting."""
        probe = self._plan.probe
        self._report(
            Progress(
                scenario=trial.scenario.name,
                phase="simulated host boots",
                loops=probe.loops,
                period_ns=probe.period_ns,
                elapsed_ns=now_ns() - trial.begin_ns,
                speed=0.0,
                round=trial.turn.round,
            )
        )
