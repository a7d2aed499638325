"""The simulated host that trials may run in, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vmjitter.units import Ns


class Bench(StrEnum):
    """Where trials are measured."""

    LOCAL = "local"
    SIM = "sim"


class Clock(StrEnum):
    """What makes time pass in the simulated host.

    VIRTUAL: the instructions it executes, and nothing else.  REAL: the wall clock, while its
    processors are emulated at whatever speed this machine gives: times mean nothing then.
    """

    VIRTUAL = "virtual"
    REAL = "real"


@dataclass(frozen=True, kw_only=True)
class SimSpec:
    """A simulated host.

    Attributes:
        machine: name of the machine file that it was taken from.
        cpus: number of host CPUs.
        cpu_model: as the simulator calls it; virtual clock only.
        quantum: with several CPUs, the longest run of instructions before the next CPU's turn, and
            what a turn of an idle CPU counts; virtual clock only.
        kernel: of the host, a name from `vmjitter guest list`.
        append: further words for the host kernel's command line.
        disk_bytes: size of the disk on which the guest's disk image lies.
        disk_latency_ns: service time of each request to that disk.
        disk_depth: requests that the disk serves at the same time.
        seed: of the simulated host's random numbers; the same gives the same run.
        jobs: simulated hosts that run at the same time; 0 means as many as this machine has CPUs.
        stall_ns: real time without any progress after which a trial is given up and repeated.
        repeats: how often a trial is repeated at most.
    """

    machine: str
    title: str
    clock: Clock
    cpus: int
    cpu_model: str
    quantum: int
    memory_bytes: int
    kernel: str
    append: str
    disk_bytes: int
    disk_latency_ns: Ns
    disk_depth: int
    seed: int
    jobs: int
    stall_ns: Ns
    repeats: int
