"""What was measured, under which conditions, and what proves it.

These records are the JSON files of a run directory (`run.json`, `trials/NN-scenario/status.json`);
field names are file format.  Times are integer nanoseconds; "guest clock" is
CLOCK_MONOTONIC where probe and loads ran.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

RUN_FORMAT: Final = 3
# Format history:
# 1: first version
# 2: benches: RunInfo.bench and .simulation, TrialStatus.repeated
# 3: targets: RunInfo.max_misses_per_hour and .confidence_percent; TrialStatus.round


class TrialState(StrEnum):
    """How far a trial came."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class ProbeProof:
    """What the probe reports about itself, before and after its loop.

    Attributes:
        t0_ns: guest clock of activation 0, as planned.
        end_ns: guest clock after the last record.
        clock_cost_ns: smallest distance of two consecutive clock reads.
        minflt: page faults of the probe's thread during the run; likewise ``majflt`` and the
            voluntary and involuntary context switches ``nvcsw`` and ``nivcsw``.
    """

    policy: str
    priority: int
    policy_after: str
    priority_after: int
    affinity: int
    affinity_after: int
    mlocked: bool
    t0_ns: int
    end_ns: int
    tsc_hz: int
    clock_cost_ns: int
    clock_res_ns: int
    minflt: int
    majflt: int
    nvcsw: int
    nivcsw: int
    clocksource_before: str
    clocksource_after: str


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What one load did while the probe ran.

    Attributes:
        side: "guest" or "host".
        rate_wanted: operations per second asked for; 0 means as many as possible.
        ops: operations during the measured phase.
        seconds: length of that phase, in whole seconds of the load's own clock.
        min_per_s: operations in its slowest whole second.
        longest_stall_s: most consecutive whole seconds without any operation.
        errors: operations that failed.
    """

    name: str
    side: str
    unit: str
    rate_wanted: int
    ops: int
    seconds: int
    min_per_s: int
    longest_stall_s: int
    errors: int
    state: str
    message: str

    @property
    def rate(self) -> float:
        """Operations per second over the measured phase."""
        return self.ops / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class ClockOffset:
    """Guest clock minus host clock (both CLOCK_MONOTONIC), by ping-pong over shared memory.

    Attributes:
        offset_ns: from the round trip with the smallest bound.
        bound_ns: half that round trip: the true offset is within offset +- bound.
        host_ns: host clock at that round trip.
        rounds: round trips made.
    """

    offset_ns: int
    bound_ns: int
    host_ns: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class KnobChange:
    """One setting that was changed for a trial.

    Attributes:
        target: what it belongs to, e.g. a thread's name and id.
        read_back: the value found after writing; equal to ``wanted`` if it is in force.
        after: the value at the end of the trial.
    """

    knob: str
    target: str
    before: str
    wanted: str
    read_back: str
    after: str = ""

    @property
    def in_force(self) -> bool:
        """Whether it held at the beginning and at the end of the measurement."""
        return self.read_back == self.wanted and self.after in ("", self.wanted)


@dataclass(frozen=True, kw_only=True)
class TrialStatus:
    """One trial: its conditions, its proofs and whether it may be used.

    Attributes:
        accel: "kvm", "tcg" or "none" (no guest).
        conditions: short words that every table and figure shows, e.g. "TCG: times are not
            those of a KVM host".
        deviations: what the scenario asked for and did not get, with the reason.
        invalid: reasons why the result must not be used; empty if it is sound.
        error: why it failed, for the states FAILED and INTERRUPTED.
        loops: activations planned.
        phases_ns: wall time of each phase on the host.
        controller_cpu_ns: CPU time used by vmjitter itself while the probe ran.
        round: counts from 1 where scenarios are measured several times, for a comparison; else 0.
        mitigations: of an ablation, those that were in force.
        repeated: why the trial was measured again from its start, once per attempt before this one.
    """

    scenario: str
    title: str
    state: TrialState
    loops: int
    period_ns: int
    where: str
    paper_max_ns: int | None = None
    accel: str = "none"
    conditions: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    error: str = ""
    started_utc: str = ""
    ended_utc: str = ""
    recorded: int = 0
    overruns: int = 0
    probe: ProbeProof | None = None
    loads: tuple[LoadResult, ...] = ()
    clock_before: ClockOffset | None = None
    clock_after: ClockOffset | None = None
    knobs: tuple[KnobChange, ...] = ()
    qemu_command: tuple[str, ...] = ()
    guest_facts: dict[str, str] = field(default_factory=dict)
    phases_ns: dict[str, int] = field(default_factory=dict)
    controller_cpu_ns: int = 0
    repeated: tuple[str, ...] = ()
    round: int = 0
    mitigations: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """One run: the head of its directory.

    Attributes:
        bench: "local", or "sim": measured in a simulated host; "import": by another tool.
        max_misses_per_hour: the target, or None without one; ``confidence_percent`` goes with it.
        host: facts of the machine that measured, as text by name; the simulated one's if it is.
        qemu: facts of QEMU and of the kernel and image that were booted; where scenarios have
            different kernels, ``kernel`` names them all and ``kernel.SCENARIO`` each.
        simulation: what the simulated host was made of and how it ran, as text by name.
    """

    format: int
    vmjitter: str
    plan: str
    title: str
    created_utc: str
    state: TrialState
    deadline_ns: int | None
    pair: tuple[str, str] | None
    scenarios: tuple[str, ...]
    bench: str = "local"
    max_misses_per_hour: float | None = None
    confidence_percent: float = 95.0
    host: dict[str, str] = field(default_factory=dict)
    qemu: dict[str, str] = field(default_factory=dict)
    simulation: dict[str, str] = field(default_factory=dict)
