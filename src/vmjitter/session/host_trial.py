"""The scenario without a virtual machine: probe and loads on the host itself."""

from __future__ import annotations

from contextlib import ExitStack

from vmjitter.effects.scratch import scratch_directory
from vmjitter.loads.catalog import LOADS
from vmjitter.session.context import TrialContext
from vmjitter.session.host_side import HostSide, load_place
from vmjitter.session.measure import Measurement
from vmjitter.session.resources import endpoint, host_program, start_peer
from vmjitter.session.tracing import Recorder


def measure_on_host(context: TrialContext) -> None:
    """Measure on the host; fills the context's outcome.

    Raises:
        VmjitterError: see `Measurement.run`.
    """
    programs = (host_program("probe"), host_program("load"))
    log = context.writer.path / "programs.log"
    log.touch()
    with ExitStack() as stack:
        recorder = stack.enter_context(Recorder(context))
        parent = context.plan.disk_dir or context.writer.path
        disk_dir = stack.enter_context(scratch_directory(parent, ".scratch-"))
        peer = endpoint(None, from_guest=False)
        place = load_place(programs[1], context.shm_fd, disk_dir, peer.reached_at)
        side = stack.enter_context(HostSide(programs[0], place, context.shm_fd, log))
        for load in context.scenario.loads:
            if LOADS[load.name].needs_network:
                child = start_peer(peer, rate=load.rate, shm_fd=context.shm_fd, log=log)
                stack.enter_context(child)
        condition = f"on the host itself, CPU {side.affinity}; UDP over loopback"
        context.outcome.conditions.append(condition)
        context.outcome.measured = Measurement(context, side, recorder).run()
