"""The table of settings: every key that a plan, a variable or a flag may set.

Keys in a plan are TOML tables; in ``--set`` they are written with dots (``probe.period=500us``); in
the environment in capitals with underscores (``VMJITTER_PROBE_PERIOD``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmjitter.config import parse
from vmjitter.loads.catalog import LOADS
from vmjitter.model.plan import Accel, Disk, Network, Policy, Where
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


_MAX_LOOPS: Final = 10**11

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("plan.title", parse.text, "", "what the plan is for, one line"),
    Setting("plan.pair", parse.texts, [], "two scenarios for the before/after figure"),
    Setting("judge.deadline", parse.optional_duration, "", "a later wake-up is a miss"),
    Setting("probe.period", parse.duration, "1ms", "distance of two planned wake-ups"),
    Setting("probe.loops", parse.integer(1, _MAX_LOOPS), 240_000, "activations per scenario"),
    Setting("probe.policy", parse.choice(Policy), "fifo", "fifo, rr or other"),
    Setting("probe.priority", parse.integer(1, 99), 80, "real-time priority of the probe"),
    Setting("guest.kernel", parse.text, "debian-rt-i386", "a name from `vmjitter guest list`"),
    Setting("guest.kernel_file", parse.optional_path, "", "a bzImage instead of a named kernel"),
    Setting("guest.modules_dir", parse.optional_path, "", "modules that belong to kernel_file"),
    Setting("guest.busybox", parse.optional_path, "", "a static busybox instead of Debian's"),
    Setting("guest.memory", parse.size, "1G", "memory of the guest"),
    Setting("guest.vcpus", parse.integer(1, 64), 1, "virtual CPUs of the guest"),
    Setting("guest.accel", parse.choice(Accel), "auto", "auto, kvm or tcg"),
    Setting("guest.boot_timeout", parse.duration, "60s", "longest time from QEMU's start to ready"),
    Setting("guest.append", parse.text, "", "words for the guest kernel's command line"),
    Setting("disk.size", parse.size, "256M", "size of the scratch disk"),
    *(
        Setting(
            f"load.{kind.name}.rate",
            parse.integer(0, 10**9),
            kind.rate,
            f"{kind.what}, per second; 0: as many as possible",
        )
        for kind in LOADS.values()
    ),
)

SCENARIO_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("title", parse.text, "", "what it shows, a few words"),
    Setting("where", parse.choice(Where), "guest", "guest, or host: no virtual machine"),
    Setting("disk", parse.choice(Disk), "none", "none, ide or virtio"),
    Setting("network", parse.choice(Network), "none", "none, e1000 or virtio"),
    Setting("vhost", parse.boolean, False, "use vhost-net where the host has it"),  # noqa: FBT003
    Setting("loads", parse.names(LOADS, "load"), [], "programs that disturb"),
    Setting("knobs", parse.names(KNOBS, "knob"), [], "settings applied after boot, in order"),
    Setting("paper_max", parse.optional_duration, "", "worst delay in the paper"),
)
