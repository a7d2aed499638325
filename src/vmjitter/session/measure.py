"""The measured part of a trial, the same on either side: loads up, probe, proofs, loads down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from vmjitter.effects.clock import cpu_ns, now_ns
from vmjitter.effects.process import out_of_the_way
from vmjitter.errors import GuestCommandFailed, GuestHang
from vmjitter.guest.channel import Reply
from vmjitter.loads.catalog import LOADS, PEER_SLOT, load_argv
from vmjitter.loads.progress import Counted, LoadMonitor, judge_load, load_rows
from vmjitter.model.run import ClockOffset, LoadResult, ProbeProof
from vmjitter.probe.native import probe_argv, probe_failed, read_proof
from vmjitter.session.context import TrialContext
from vmjitter.session.outcome import Measured
from vmjitter.session.progress import Progress
from vmjitter.session.samples import SampleFlow
from vmjitter.session.side import Side
from vmjitter.units import NS_PER_S

LOOK_S: Final = 0.5
"""Distance of two looks at the shared memory while the probe runs."""

LOADS_UP_S: Final = 60.0
HANG_S: Final = 30.0
"""A probe that records nothing for so long will not come back."""


class Measurement:
    """One measured phase on one side."""

    def __init__(self, context: TrialContext, side: Side) -> None:
        self._plan = context.plan
        self._scenario = context.scenario
        self._side = side
        self._shm = context.shm
        self._writer = context.writer
        self._report = context.report
        self._phases = context.outcome.phases
        self._monitor = LoadMonitor(context.shm)
        self.flow = SampleFlow(context.shm, context.writer)
        context.outcome.flow = self.flow
        context.publish()
        self._pids: dict[str, int] = {}
        self._begin_ns = now_ns()

    def run(self) -> Measured:
        """Measure.

        Raises:
            GuestCommandFailed: a load did not start, or the probe refused to measure.
            GuestLost: the guest is gone or hangs; what was measured is stored.
        """
        with self._phases.phase("clock"):
            before = self._side.clock_offset()
        with self._phases.phase("loads up"):
            self._start_loads()
        with self._phases.phase("measure"):
            cpu_begin_ns = cpu_ns()
            self._run_probe()
            controller_cpu_ns = cpu_ns() - cpu_begin_ns
        counted = self._note_deaths(self._monitor.snapshot())
        self._writer.write_loads(load_rows(counted))
        with self._phases.phase("loads down"):
            self._stop_loads()
        with self._phases.phase("clock"):
            after = self._side.clock_offset()
        proof = read_proof(self._shm)
        return Measured(
            proof=proof,
            loads=self._judge(counted, proof, before),
            recorded=self.flow.recorded,
            overruns=int(self._shm.probe.overruns),
            lost=self.flow.lost,
            clock_before=before,
            clock_after=after,
            controller_cpu_ns=controller_cpu_ns,
        )

    def _start_loads(self) -> None:
        slot = 0
        for spec in self._scenario.loads:
            names = _slot_names(spec.name)
            pid = self._side.spawn(load_argv(spec, self._side.place, slot))
            self._pids |= dict.fromkeys(names, pid)
            for offset, name in enumerate(names):
                self._monitor.add(slot + offset, name, self._side.name)
            if LOADS[spec.name].needs_network:
                for offset, name in enumerate(names):
                    self._monitor.add(PEER_SLOT + offset, f"{name} (peer)", "host")
            slot += len(names)
        self._await_loads()

    def _await_loads(self) -> None:
        end_ns = now_ns() + round(LOADS_UP_S * NS_PER_S)
        while waiting := self._monitor.waiting_for():
            failed = self._monitor.failed()
            if failed or now_ns() > end_ns:
                raise GuestCommandFailed(
                    f"a load did not start on the {self._side.name}: {failed or waiting}",
                    evidence=self._side.evidence(),
                )
            self._tell("loads")
            self._side.pause(0.05)

    def _run_probe(self) -> None:
        place = self._side.place
        argv = probe_argv(
            self._side.probe_program, self._plan.probe, place.shm_path, self._side.affinity
        )
        self._side.start(argv)
        with out_of_the_way(self._side.free_cpus):
            reply = self._follow_probe()
        self._check_probe(reply)

    def _follow_probe(self) -> Reply:
        progress_ns = now_ns()
        try:
            while (reply := self._side.finished()) is None:
                self._side.pause(LOOK_S)
                if self.flow.move():
                    progress_ns = now_ns()
                elif now_ns() - progress_ns > HANG_S * NS_PER_S:
                    raise GuestHang(
                        f"the probe recorded nothing for {HANG_S:g} s after activation "
                        f"{self.flow.recorded}",
                        evidence=self._side.evidence(),
                    )
                self._monitor.poll()
                self._tell("measure")
        finally:
            self.flow.finish()  # whatever happened: what is in memory is kept
        return reply

    def _check_probe(self, reply: Reply) -> None:
        failure = probe_failed(self._shm)
        if failure or reply.status != 0:
            raise GuestCommandFailed(
                f"the probe failed on the {self._side.name}: "
                f"{failure or f'exit status {reply.status}'}",
                evidence=reply.text.strip(),
            )

    def _note_deaths(self, counted: Sequence[Counted]) -> tuple[Counted, ...]:
        """A load that was killed cannot say so itself: its slot still reads "running"."""
        dead = {name for name, pid in self._pids.items() if not self._side.runs(pid)}
        return tuple(
            replace(load, state="died") if load.name in dead and load.state == "running" else load
            for load in counted
        )

    def _stop_loads(self) -> None:
        self._shm.control.load_stop = 1
        end_ns = now_ns() + 10 * NS_PER_S
        while not self._monitor.all_ended() and now_ns() < end_ns:
            self._side.pause(0.02)

    def _judge(
        self, counted: Sequence[Counted], proof: ProbeProof, offset: ClockOffset | None
    ) -> tuple[LoadResult, ...]:
        shift_ns = {"host": offset.offset_ns if offset is not None else 0}
        return tuple(
            judge_load(
                load,
                proof.t0_ns - shift_ns.get(load.side, 0),
                proof.end_ns - shift_ns.get(load.side, 0),
            )
            for load in counted
        )

    def _tell(self, phase: str) -> None:
        flow = self.flow
        self._report(
            Progress(
                scenario=self._scenario.name,
                phase=phase,
                loops=self._plan.probe.loops,
                period_ns=self._plan.probe.period_ns,
                recorded=flow.recorded,
                current_ns=flow.current_ns,
                worst_ns=flow.worst_ns,
                overruns=int(self._shm.probe.overruns),
                elapsed_ns=now_ns() - self._begin_ns,
                rates=self._monitor.rates(),
            )
        )


def _slot_names(load: str) -> tuple[str, ...]:
    return ("udp-send", "udp-recv") if load == "udp" else (load,)
