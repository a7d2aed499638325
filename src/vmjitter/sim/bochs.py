"""The virtual clock: Bochs, whose time is the number of instructions that it has executed.

With ``clock: sync=none`` nothing in Bochs looks at the real clock, and an ``ips`` of one thousand
million makes one instruction one nanosecond (Bochs user manual, "The configuration file bochsrc").
With several CPUs each executes a few instructions in turn; time advances by the mean over all CPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmjitter.guest.image import native_program
from vmjitter.guest.tree import Tree
from vmjitter.model.sim import SimSpec

INSTRUCTIONS_PER_SECOND: Final = 1_000_000_000
START_UTC: Final = 1_000_000_000
"""What the simulated host's battery-backed clock shows at power-on, in seconds since 1970."""

_PROGRAM: Final = "usr/bin/bochs-bin"
_PLUGINS: Final = "usr/lib/x86_64-linux-gnu/bochs/plugins"
_SHARE: Final = "usr/share/bochs"


@dataclass(frozen=True, kw_only=True)
class Media:
    """Files that a simulated host is started with.

    Attributes:
        disc: bootable CD image; None with the real clock.
        system: image of the system disk, never written to.
        job: image of the disk with the job.
        result: image of the disk that results are written to.
        console: gets what the simulated host writes to its first serial port; a terminal device
            (``/dev/pts/N``) makes it a console to type at.
        log: gets what the simulator itself says.
    """

    disc: Path | None
    system: Path
    job: Path
    result: Path
    console: Path
    log: Path


def bochs_argv(tools: Tree, configuration: Path) -> list[str]:
    """Bochs with a configuration file, without its debugger and its menu.

    A library of ours is preloaded.  It takes the wall clock away (native/bochs/clock.c), and mends
    what is wrong in Bochs 3.0 with several CPUs (native/bochs/commit.c) and at the entry into a
    guest whose interrupts are off (native/bochs/entry.c).

    Raises:
        MissingCapability: that library was not built.
    """
    preload = str(native_program("bochs", "x86_64.so"))
    return [*tools.argv(_PROGRAM, preload=[preload]), "-q", "-f", str(configuration)]


def bochs_environment(spec: SimSpec, tools: Tree) -> dict[str, str]:
    """What Bochs needs to find its parts in a tree, and a terminal type that its display knows."""
    root = tools.root
    return {
        "LTDL_LIBRARY_PATH": str(root / _PLUGINS),
        "BXSHARE": str(root / _SHARE),
        "TERM": "vt100",
        "TERMINFO": str(root / "usr/share/terminfo"),
        "LC_ALL": "C",
        "VMJITTER_BOCHS_CPUS": str(spec.cpus),
    }


def bochsrc(spec: SimSpec, media: Media, tools: Tree) -> str:
    """The configuration file.  Pure."""
    share = tools.root / _SHARE
    megabytes = spec.memory_bytes >> 20
    journal = media.result.with_name("system.redolog")
    cpu = [
        *(f"model={spec.cpu_model}", f"count={spec.cpus}", f"ips={INSTRUCTIONS_PER_SECOND}"),
        "ignore_bad_msrs=1",
        *([f"quantum={spec.quantum}"] if spec.cpus > 1 else []),
    ]
    serial = "term" if media.console.is_relative_to("/dev") else "file"
    lines = (
        "config_interface: textconfig",
        "display_library: term",
        # else the screen is refreshed by the wall clock, and its events part runs of instructions
        # at other places each time
        "vga: extension=vbe, update_freq=1, realtime=0",
        f"cpu: {', '.join(cpu)}",
        f"clock: sync=none, time0={START_UTC}",
        f"memory: guest={megabytes}, host={megabytes}",
        # fastboot: without the three seconds in which a user could ask for a menu
        f"romimage: file={share}/BIOS-bochs-latest, options=fastboot",
        f"vgaromimage: file={share}/VGABIOS-lgpl-latest",
        "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
        "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
        f"ata0-master: type=cdrom, path={media.disc}, status=inserted",
        # volatile: what is written goes to a file of this host's own; the system disk is shared
        f"ata0-slave: type=disk, path={media.system}, mode=volatile, journal={journal}",
        f"ata1-master: type=disk, path={media.job}, mode=flat",
        f"ata1-slave: type=disk, path={media.result}, mode=flat",
        "boot: cdrom",
        f"com1: enabled=1, mode={serial}, dev={media.console}",
        f"log: {media.log}",
        "panic: action=fatal",
        "error: action=ignore",
        "info: action=ignore",
        "debug: action=ignore",
        "mouse: enabled=0",
        "speaker: enabled=0, mode=none",
        "sound: driver=default, waveoutdrv=dummy",
    )
    return "\n".join(lines) + "\n"
