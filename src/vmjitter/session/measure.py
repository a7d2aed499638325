"""The measured part of a trial, the same on either side: loads up, probe, proofs, loads down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmjitter.effects.clock import cpu_ns, now_ns
from vmjitter.effects.process import out_of_the_way
from vmjitter.errors import GuestCommandFailed, GuestHang
from vmjitter.guest.channel import Reply
from vmjitter.loads.progress import Counted, judge_load, load_rows
from vmjitter.model.run import ClockOffset, LoadResult, ProbeProof
from vmjitter.probe.native import probe_argv, probe_failed, read_proof
from vmjitter.session.context import TrialContext
from vmjitter.session.outcome import Measured
from vmjitter.session.progress import Progress
from vmjitter.session.running_loads import Party, RunningLoads
from vmjitter.session.samples import SampleFlow
from vmjitter.session.side import Side
from vmjitter.session.tracing import Recorder
from vmjitter.units import NS_PER_S

LOOK_S: Final = 0.5
"""Distance of two looks at the shared memory while the probe runs."""

HANG_S: Final = 30.0
"""A probe that records nothing for so long will not come back."""


class Measurement:
    """One measured phase on one side.

    Args:
        context: the trial.
        side: where the probe and the scenario's ``loads`` run.
        beside: the loads that run on the host meanwhile, or None.
        recorder: of everything that may explain late wake-ups.
    """

    def __init__(
        self, context: TrialContext, side: Side, recorder: Recorder, beside: Party | None = None
    ) -> None:
        self._plan = context.plan
        self._scenario = context.scenario
        self._side = side
        self._recorder = recorder
        self._shm = context.shm
        self._writer = context.writer
        self._report = context.report
        self._phases = context.outcome.phases
        self._parties = [Party.of(side, context.scenario.loads)]
        if beside is not None:
            self._parties.append(beside)
        self._loads = RunningLoads(context.shm, side.pause)
        self.flow = SampleFlow(context.shm, context.writer)
        context.outcome.flow = self.flow
        context.publish()
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
            for party in self._parties:
                self._loads.start(party, self._tell)
        with self._phases.phase("measure"):
            self._recorder.begin()
            cpu_begin_ns = cpu_ns()
            self._run_probe()
            controller_cpu_ns = cpu_ns() - cpu_begin_ns
            self._recorder.end()
        counted = self._loads.counted()
        self._writer.write_loads(load_rows(counted))
        with self._phases.phase("loads down"):
            self._loads.stop()
        with self._phases.phase("clock"):
            after = self._side.clock_offset()
        with self._phases.phase("store traces"):
            self._recorder.store()
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
                look_ns = now_ns()
                if self.flow.move():
                    progress_ns = now_ns()
                elif now_ns() - progress_ns > HANG_S * NS_PER_S:
                    raise GuestHang(
                        f"the probe recorded nothing for {HANG_S:g} s after activation "
                        f"{self.flow.recorded}",
                        evidence=self._side.evidence(),
                    )
                self._loads.poll()
                self._tell("measure")
                self._recorder.look(self.flow, look_ns)
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
                rates=self._loads.rates(),
            )
        )
