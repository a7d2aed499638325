"""The table of settings: every key that a plan, a variable or a flag may set.

Keys in a plan are TOML tables; in ``--set`` they are written with dots (``probe.period=500us``); in
the environment in capitals with underscores (``VMJITTER_PROBE_PERIOD``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmjitter.config import parse
from vmjitter.config.injections import injections
from vmjitter.guest.kernels import find_kernel
from vmjitter.loads.catalog import LOADS
from vmjitter.model.plan import Accel, Disk, LoadCpus, Network, Policy, Where
from vmjitter.model.sim import Bench, Clock
from vmjitter.model.trace import EventSet, QemuTrace
from vmjitter.tuning.knobs import KNOBS


@dataclass(frozen=True)
class Setting:
    """One key.

    Attributes:
        key: with dots; for scenarios without the leading ``scenario.NAME.``.
        default: as it would stand in a plan.
    """

    key: str
    parse: parse.Parse
    default: object
    help: str


def _optional(wrapped: parse.Parse) -> parse.Parse:
    """Likewise, or an empty text for none."""
    return lambda value: wrapped(value) if value != "" else None


def _kernel(value: object) -> str:
    """The name of a kernel in the catalogue."""
    return find_kernel(parse.text(value)).name


_MAX_LOOPS: Final = 10**11

DEFAULT_MACHINE: Final = "paper-2012"

MACHINE_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("sim.title", parse.text, "", "what the machine is, one line"),
    Setting("sim.cpus", parse.integer(1, 16), 2, "CPUs of the simulated host"),
    Setting("sim.cpu_model", parse.text, "corei7_sandy_bridge_2600k", "processor in Bochs' words"),
    Setting("sim.quantum", parse.integer(1, 32), 6, "instructions of a CPU's turn, if several"),
    Setting("sim.memory", parse.size, "2G", "memory of the simulated host"),
    Setting("sim.kernel", parse.text, "debian-cloud-amd64", "its kernel, 64-bit"),
    Setting("sim.append", parse.text, "", "words for its kernel's command line"),
    Setting("sim.disk_size", parse.size, "512M", "size of its disk"),
    Setting("sim.disk_depth", parse.integer(1, 256), 1, "requests that its disk serves at a time"),
    Setting("sim.disk_latency", parse.duration, "0us", "service time of each request to its disk"),
)
"""What a machine file sets in its table ``[sim]``."""

WIRE_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("wire.delay", parse.duration, "0us", "delay of each packet, both ways; needs a tap"),
)
"""The network between host and guest; a machine file may set it, too."""

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("plan.title", parse.text, "", "what the plan is for, one line"),
    Setting("plan.pair", parse.texts, [], "two scenarios for the before/after figure"),
    Setting("plan.rounds", parse.integer(0, 1000), 0, "trials of each, in turn (ABBA); 0: one"),
    Setting("judge.deadline", parse.optional_duration, "", "a later wake-up is a miss"),
    Setting("judge.max_misses_per_hour", parse.optional_number, "", "allowed; empty: any fails"),
    Setting("judge.confidence", parse.number, 95, "percent, of every bound, one-sided"),
    Setting("probe.period", parse.duration, "1ms", "distance of two planned wake-ups"),
    Setting("probe.loops", parse.integer(1, _MAX_LOOPS), 240_000, "activations per scenario"),
    Setting("probe.policy", parse.choice(Policy), "fifo", "fifo, rr or other"),
    Setting("probe.priority", parse.integer(1, 99), 80, "real-time priority of the probe"),
    Setting("guest.kernel", _kernel, "debian-rt-i386", "a name from `vmjitter guest list`"),
    Setting("guest.kernel_file", parse.optional_path, "", "a bzImage instead of a named kernel"),
    Setting("guest.modules_dir", parse.optional_path, "", "modules that belong to kernel_file"),
    Setting("guest.busybox", parse.optional_path, "", "a static busybox instead of Debian's"),
    Setting("guest.memory", parse.size, "1G", "memory of the guest"),
    Setting("guest.vcpus", parse.integer(1, 64), 1, "virtual CPUs of the guest"),
    Setting("guest.host_cpus", parse.integer(0, 1024), 0, "host CPUs for QEMU, the last; 0: any"),
    Setting("guest.accel", parse.choice(Accel), "auto", "auto, kvm or tcg"),
    Setting("guest.boot_timeout", parse.duration, "60s", "longest time from QEMU's start to ready"),
    Setting("guest.append", parse.text, "", "words for the guest kernel's command line"),
    Setting("disk.size", parse.size, "256M", "size of the scratch disk"),
    Setting("disk.dir", parse.optional_path, "", "where its image is made; default: the trial"),
    *WIRE_SETTINGS,
    Setting("trace.enabled", parse.boolean, False, "record events to explain late wake-ups"),  # noqa: FBT003
    Setting("trace.break", parse.optional_duration, "", "end at the first wake-up later than this"),
    Setting("trace.threshold", parse.optional_duration, "", "keep what surrounds later ones only"),
    Setting("trace.buffer", parse.size, "16M", "size of a ring, per CPU; there are two of them"),
    Setting("trace.keep", parse.size, "24M", "the most that is stored of one trial, compressed"),
    Setting("trace.events", parse.choice(EventSet), "lean", "light, lean, full: more, but dearer"),
    Setting("trace.qemu", parse.choice(QemuTrace), "auto", "QEMU's own events: auto, on or off"),
    Setting("trace.guest", parse.boolean, True, "events of the guest's kernel, too"),  # noqa: FBT003
    Setting("inject.distance", parse.duration, "20ms", "from one disturbance to the next"),
    Setting("bench.name", parse.choice(Bench), "local", "local, or sim: the simulated host"),
    Setting("sim.machine", parse.text, DEFAULT_MACHINE, "a machine that comes along, or a file"),
    *MACHINE_SETTINGS,
    Setting("sim.clock", parse.choice(Clock), "virtual", "virtual, or real: times mean nothing"),
    Setting("sim.seed", parse.integer(0, 2**63), 1, "of its random numbers; same seed, same run"),
    Setting("sim.jobs", parse.integer(0, 256), 0, "trials at the same time; 0: one per CPU"),
    Setting("sim.stall_timeout", parse.duration, "60s", "CPU time without progress, per CPU"),
    Setting("sim.repeats", parse.integer(0, 10), 2, "how often a stalled trial is repeated"),
    *(
        Setting(
            f"load.{kind.name}.rate",
            parse.integer(0, 10**9),
            kind.rate,
            f"{kind.what}, per second; 0: as many as possible",
        )
        for kind in LOADS.values()
    ),
    *(
        Setting(
            f"host_load.{kind.name}.rate",
            _optional(parse.integer(0, 10**9)),
            "",
            f"the same, of `host_loads`; empty: as `load.{kind.name}.rate`",
        )
        for kind in LOADS.values()
    ),
)

SCENARIO_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("title", parse.text, "", "what it shows, a few words"),
    Setting("where", parse.choice(Where), "guest", "guest, or host: no virtual machine"),
    Setting("kernel", _optional(_kernel), "", "its guest's; empty: as `guest.kernel`, or the file"),
    Setting("disk", parse.choice(Disk), "none", "none, ide or virtio"),
    Setting("network", parse.choice(Network), "none", "none, e1000 or virtio"),
    Setting("vhost", parse.boolean, False, "use vhost-net where the host has it"),  # noqa: FBT003
    Setting("loads", parse.names(LOADS, "load"), [], "programs that disturb"),
    Setting("host_loads", parse.names(LOADS, "load"), [], "likewise, on the host beside the guest"),
    Setting(
        "host_load_cpus", parse.choice(LoadCpus), "guest", "theirs: guest (QEMU's), other, any"
    ),
    Setting("recipe", parse.text, "", "a named list of knobs, or a file; they come before knobs"),
    Setting("knobs", parse.names(KNOBS, "knob"), [], "settings to be changed for it, in order"),
    Setting("trace", parse.boolean, True, "record events in it, if the run does"),  # noqa: FBT003
    Setting("inject", injections, [], "disturbances on purpose, in turn: KIND or KIND=LENGTH"),
    Setting("mitigations", parse.texts, [], "of an ablation: those that are in force here"),
    Setting("paper_max", parse.optional_duration, "", "worst delay in the paper"),
)
