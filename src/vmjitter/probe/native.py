"""Our own probe: its arguments, and its proofs as records."""

from __future__ import annotations

from typing import Final

from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory
from vmjitter.model.plan import Policy, ProbeSpec
from vmjitter.model.run import ProbeProof

_POLICY_NAMES: Final = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline"}


def probe_argv(program: str, spec: ProbeSpec, shm_path: str, affinity: str = "") -> tuple[str, ...]:
    """The probe's command line for a measurement into shared memory."""
    priority = () if spec.policy is Policy.OTHER else ("--priority", str(spec.priority))
    return (
        program,
        *("--interval", f"{spec.period_ns}ns", "--loops", str(spec.loops)),
        *("--policy", spec.policy.value, *priority),
        *(("--affinity", affinity) if affinity else ()),
        *("--shm", shm_path, "--quiet"),
    )


def read_proof(shm: SharedMemory) -> ProbeProof:
    """The probe's result block, once the probe has ended."""
    result = shm.probe
    return ProbeProof(
        policy=_POLICY_NAMES.get(result.policy, str(result.policy)),
        priority=result.priority,
        policy_after=_POLICY_NAMES.get(result.policy_after, str(result.policy_after)),
        priority_after=result.priority_after,
        affinity=result.affinity,
        affinity_after=result.affinity_after,
        mlocked=bool(result.mlocked),
        t0_ns=result.t0_ns,
        end_ns=result.end_ns,
        tsc_hz=result.tsc_hz,
        clock_cost_ns=result.clock_cost_ns,
        clock_res_ns=result.clock_res_ns,
        minflt=result.minflt,
        majflt=result.majflt,
        nvcsw=result.nvcsw,
        nivcsw=result.nivcsw,
        clocksource_before=result.clocksource_before.decode(errors="replace"),
        clocksource_after=result.clocksource_after.decode(errors="replace"),
    )


def probe_failed(shm: SharedMemory) -> str:
    """Why the probe refused to measure, or an empty text."""
    if shm.probe.state != layout.RUN_FAILED:
        return ""
    return str(shm.probe.message.decode(errors="replace"))
