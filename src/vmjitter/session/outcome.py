"""What is known about a trial so far; filled as it goes, so that a failure loses nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vmjitter.effects.clock import now_ns
from vmjitter.model.run import ClockOffset, KnobChange, LoadResult, ProbeProof, TrialStatus
from vmjitter.session.samples import SampleFlow


@dataclass(kw_only=True)
class Measured:
    """What the measured phase brought."""

    proof: ProbeProof
    loads: tuple[LoadResult, ...]
    recorded: int
    overruns: int
    lost: int
    clock_before: ClockOffset | None
    clock_after: ClockOffset | None
    controller_cpu_ns: int


@dataclass(kw_only=True)
class Phases:
    """Wall time of each phase on the host's clock, in nanoseconds."""

    spent_ns: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block under ``name``."""
        begin_ns = now_ns()
        try:
            yield
        finally:
            self.spent_ns[name] = self.spent_ns.get(name, 0) + now_ns() - begin_ns


@dataclass(kw_only=True)
class Outcome:
    """The growing result of a trial."""

    accel: str = "none"
    conditions: list[str] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    knobs: tuple[KnobChange, ...] = ()
    qemu_command: tuple[str, ...] = ()
    guest_facts: dict[str, str] = field(default_factory=dict)
    phases: Phases = field(default_factory=Phases)
    flow: SampleFlow | None = None
    measured: Measured | None = None

    def fill(self, status: TrialStatus) -> TrialStatus:
        """The status with everything known by now."""
        filled = dataclasses.replace(
            status,
            accel=self.accel,
            conditions=tuple(self.conditions),
            deviations=tuple(self.deviations),
            knobs=self.knobs,
            qemu_command=self.qemu_command,
            guest_facts=self.guest_facts,
            phases_ns=self.phases.spent_ns,
            recorded=self.flow.recorded if self.flow is not None else 0,
        )
        measured = self.measured
        if measured is None:
            return filled
        return dataclasses.replace(
            filled,
            overruns=measured.overruns,
            probe=measured.proof,
            loads=measured.loads,
            clock_before=measured.clock_before,
            clock_after=measured.clock_after,
            controller_cpu_ns=measured.controller_cpu_ns,
        )
