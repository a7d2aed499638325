"""What is to be measured: a plan and its scenarios, as they stand after every default.

All of this is data: the plan file, the environment and flags are turned into it by
`vmjitter.config`, and nothing here touches a machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from vmjitter.model.inject import Injection
from vmjitter.model.judge import Target
from vmjitter.model.sim import Bench, SimSpec
from vmjitter.model.trace import TraceSpec
from vmjitter.units import Ns


class Where(StrEnum):
    """On which side of the virtual machine's border probe and loads run."""

    GUEST = "guest"
    HOST = "host"


class LoadCpus(StrEnum):
    """On which of the host's CPUs the loads of the host itself run.

    GUEST are those that QEMU is given, OTHER the rest, ANY all of them; without a division of the
    CPUs (`GuestSpec.host_cpus`) they are the same.
    """

    GUEST = "guest"
    OTHER = "other"
    ANY = "any"


class Disk(StrEnum):
    """How the guest sees its scratch disk."""

    NONE = "none"
    IDE = "ide"
    VIRTIO = "virtio"


class Network(StrEnum):
    """How the guest sees its network."""

    NONE = "none"
    E1000 = "e1000"
    VIRTIO = "virtio"


class Policy(StrEnum):
    """Scheduling policy of the probe, in the words of `chrt` and `cyclictest`."""

    FIFO = "fifo"
    RR = "rr"
    OTHER = "other"


class Accel(StrEnum):
    """How QEMU runs the guest's instructions; AUTO means KVM if it really works."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, kw_only=True)
class ProbeSpec:
    """The periodic wake-up program.

    Attributes:
        period_ns: distance of two planned wake-ups.
        loops: number of activations, wake-ups and overruns together.
        priority: real-time priority; ignored for `Policy.OTHER`.
    """

    period_ns: Ns
    loops: int
    policy: Policy
    priority: int


@dataclass(frozen=True, kw_only=True)
class GuestSpec:
    """The guest.  ``kernel_file``, ``modules_dir`` and ``busybox`` replace Debian's files.

    Attributes:
        host_cpus: how many host CPUs QEMU is given, the last ones; 0 means that it may use any.
            While the probe runs, vmjitter itself keeps to the others.
    """

    kernel: str
    kernel_file: Path | None
    modules_dir: Path | None
    busybox: Path | None
    memory_bytes: int
    vcpus: int
    host_cpus: int
    accel: Accel
    boot_timeout_ns: Ns
    append: str


@dataclass(frozen=True, kw_only=True)
class WireSpec:
    """The network between host and guest.

    Attributes:
        delay_ns: time that each packet takes on its way, in either direction; whole microseconds.
    """

    delay_ns: Ns


@dataclass(frozen=True, kw_only=True)
class LoadSpec:
    """A disturbing program and how often per second it shall do its operation."""

    name: str
    rate: int


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Guest, devices, loads and knobs of one trial.

    Attributes:
        kernel: name of the guest's kernel; empty for the one that `GuestSpec` names, such as a
            file.
        vhost: wanted; used where the host has vhost-net, said in the result where not.
        knobs: names of knobs, in the order of application.
        mitigations: of an ablation, those that are in force here.
        trace: events are recorded in it, if they are recorded in the run.
        paper_max_ns: worst delay that the paper reports for it, or None.
        host_loads: run on the host while probe and ``loads`` run in the guest.
        host_load_cpus: where those run.
        inject: disturbances on purpose, done in turn, see docs/method/ground-truth.md.
    """

    name: str
    title: str
    where: Where
    loads: tuple[LoadSpec, ...]
    disk: Disk
    network: Network
    vhost: bool
    knobs: tuple[str, ...]
    paper_max_ns: Ns | None
    mitigations: tuple[str, ...] = ()
    host_loads: tuple[LoadSpec, ...] = ()
    host_load_cpus: LoadCpus = LoadCpus.GUEST
    inject: tuple[Injection, ...] = ()
    kernel: str = ""
    trace: bool = True


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One trial of a plan.

    Attributes:
        round: counts from 1 where scenarios are measured several times; else 0.
    """

    scenario: Scenario
    round: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run needs to know.

    Attributes:
        target: what the measurement is held against, fixed before it.
        disk_dir: where the scratch disk's image and the host's own disk loads are; None means the
            trial's directory.
        pair: the two scenarios that the before/after figure shows, or None.
        rounds: how often each scenario is measured, in turn; 0: once, and not for a comparison.
        sim: used with the bench SIM.
        inject_distance_ns: from one disturbance on purpose to the next, of scenarios with any.
    """

    name: str
    title: str
    target: Target
    disk_bytes: int
    disk_dir: Path | None
    wire: WireSpec
    probe: ProbeSpec
    guest: GuestSpec
    scenarios: tuple[Scenario, ...]
    pair: tuple[str, str] | None
    bench: Bench
    sim: SimSpec
    rounds: int = 0
    trace: TraceSpec = field(default_factory=TraceSpec)
    inject_distance_ns: int = 20_000_000

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Its trials in the order of their measurement.

        In every other round the order of the scenarios is reversed (ABBA), so that a steady
        change of the machine over time falls on all of them alike.
        """
        if not self.rounds:
            return tuple(Turn(scenario=scenario, round=0) for scenario in self.scenarios)
        return tuple(
            Turn(scenario=scenario, round=number)
            for number in range(1, self.rounds + 1)
            for scenario in (self.scenarios if number % 2 else self.scenarios[::-1])
        )
