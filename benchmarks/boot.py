"""From QEMU's start to a guest that is ready, against a kernel that is only booted.

Run it from the repository's root:

    .venv/bin/python -m benchmarks.boot --help

The reference is the same kernel, command line and QEMU options, but with an init that powers off
at once: from QEMU's start until QEMU has exited.  docs/method/overhead.md has the method.
"""

from __future__ import annotations

import argparse
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.common import (
    Row,
    host_conditions,
    median,
    parser,
    positive,
    qemu_condition,
    scratch,
    show,
)
from benchmarks.guests import BOOT_TIMEOUT_NS, Held, started

from vmjitter.config.resolve import Choices, resolve
from vmjitter.effects.clock import now_ns
from vmjitter.errors import GuestLost, VmjitterError
from vmjitter.guest import cpio
from vmjitter.guest.image import GuestImage
from vmjitter.model.plan import Accel, Disk, Network, Plan, Scenario
from vmjitter.qemu.cmdline import Machine
from vmjitter.session.guest_trial import machine_for
from vmjitter.session.prepare import prepare_guest
from vmjitter.session.resources import network_link, scratch_image

SCENARIOS: Final = ("kernel-io", "kernel-io-mitigated")
AIM: Final = 1.3
OURS: Final = "ours, until ready"
REFERENCE: Final = "reference, until QEMU has exited"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two machines of a scenario; they differ in the initramfs only."""

    name: str
    ours: Machine
    reference: Machine
    held: Held


def main(arguments: Sequence[str] | None = None) -> int:
    """Boot and print; 0 whatever the figures are."""
    made = parser(__doc__.splitlines()[0])
    made.add_argument("-n", "--boots", type=positive, default=7, help="boots of each kind")
    made.add_argument("--only", choices=SCENARIOS, action="append", help="this scenario only")
    got: argparse.Namespace = made.parse_args(arguments)
    names: tuple[str, ...] = tuple(got.only or SCENARIOS)
    plan = resolve("paper", Choices(assignments=["guest.accel=tcg"], only=names)).plan
    guest = prepare_guest(plan, _say)
    assert guest is not None  # the chosen scenarios are all in a guest
    times: dict[str, dict[str, list[float]]] = {}
    for scenario in plan.scenarios:
        image = guest.images[scenario.name]
        with scratch() as directory, _pair(plan, scenario, image, directory) as pair:
            times[pair.name] = _alternate(pair, directory, got.boots)
    conditions = {**host_conditions(), **qemu_condition(), **_conditions(plan, guest.images)}
    conditions["boots"] = f"{got.boots} of each kind, alternating"
    tables = {"medians": _medians(times), "every boot, in seconds": _all(times)}
    show(conditions, tables, as_json=got.json)
    return 0


def _conditions(plan: Plan, images: dict[str, GuestImage]) -> dict[str, str]:
    kernel = next(iter(images.values())).kernel
    return {
        "guest kernel": f"{kernel.name}: {kernel.package} {kernel.package_version}",
        "guest": f"TCG, {plan.guest.vcpus} vCPU, {plan.guest.memory_bytes >> 20} MiB",
    }


@contextmanager
def _pair(plan: Plan, scenario: Scenario, image: GuestImage, directory: Path) -> Iterator[Pair]:
    ours = machine_for(plan, scenario, image, Accel.TCG)
    archive = directory / "reference.cpio"
    archive.write_bytes(reference_initramfs())
    with ExitStack() as stack:
        yield Pair(
            name=scenario.name,
            ours=ours,
            reference=replace(ours, initramfs=archive),
            held=_hold(stack, plan, scenario, directory),
        )


def _hold(stack: ExitStack, plan: Plan, scenario: Scenario, directory: Path) -> Held:
    held = Held()
    if scenario.disk is not Disk.NONE:
        fd, direct = stack.enter_context(scratch_image(directory, plan.disk_bytes))
        held = replace(held, scratch_fd=fd, direct=direct)
    if scenario.network is not Network.NONE:
        link = stack.enter_context(network_link(plan.wire, vhost=scenario.vhost))
        tap = link.wire.tap_fd if link.wire is not None else None
        held = replace(held, tap_fd=tap, vhost_fd=link.vhost_fd)
    return held


def _alternate(pair: Pair, directory: Path, boots: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {OURS: [], REFERENCE: []}
    for number in range(boots):
        kinds = (OURS, REFERENCE) if number % 2 == 0 else (REFERENCE, OURS)
        for kind in kinds:
            took = (_ours if kind == OURS else _reference)(pair, directory)
            _say(f"{pair.name}: {kind}: {took:.2f} s")
            seconds[kind].append(took)
    return seconds


def _ours(pair: Pair, directory: Path) -> float:
    with started(pair.ours, directory, pair.held) as booted:
        booted.machine.wait_ready(BOOT_TIMEOUT_NS)
        took_ns = now_ns() - booted.started_ns
        booted.machine.power_off()
    return took_ns / 1e9


def _reference(pair: Pair, directory: Path) -> float:
    with started(pair.reference, directory, pair.held) as booted:
        # starts the guest like wait_ready does: QEMU itself does not wait for QMP
        status = booted.machine.child.wait(BOOT_TIMEOUT_NS / 1e9)
        took_ns = now_ns() - booted.started_ns
        if status != 0:
            raise GuestLost(f"the reference guest ended with status {status}")
    return took_ns / 1e9


def reference_initramfs() -> bytes:
    """An archive with nothing but an init that powers off.  Pure."""
    return cpio.pack(
        [
            cpio.directory("dev"),
            cpio.character_device("dev/console", 5, 1),
            cpio.file("init", power_off_program(), mode=0o755),
        ]
    )


def power_off_program() -> bytes:
    """A static i386 program that does reboot(LINUX_REBOOT_CMD_POWER_OFF), as bytes.  Pure.

    One read-only, executable segment: ELF header, program header, code.
    """
    base, headers = 0x08048000, 52 + 32
    code = b"".join(
        (
            b"\xb8" + struct.pack("<I", 88),  # mov eax, __NR_reboot
            b"\xbb" + struct.pack("<I", 0xFEE1DEAD),  # mov ebx, LINUX_REBOOT_MAGIC1
            b"\xb9" + struct.pack("<I", 672274793),  # mov ecx, LINUX_REBOOT_MAGIC2
            b"\xba" + struct.pack("<I", 0x4321FEDC),  # mov edx, LINUX_REBOOT_CMD_POWER_OFF
            b"\xcd\x80",  # int 0x80
            b"\xeb\xfe",  # jmp to itself
        )
    )
    size = headers + len(code)
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")  # 32-bit, little-endian, version 1
    # ET_EXEC, EM_386; one program header right behind; no sections
    elf = struct.pack("<2H5I6H", 2, 3, 1, base + headers, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    # PT_LOAD of the whole file, readable and executable
    load = struct.pack("<8I", 1, 0, base, base, size, size, 5, 0x1000)
    return ident + elf + load + code


def _medians(times: dict[str, dict[str, list[float]]]) -> list[Row]:
    rows: list[Row] = []
    for name, kinds in times.items():
        ours, reference = median(kinds[OURS]), median(kinds[REFERENCE])
        ratio = ours / reference
        rows.append(
            {
                "scenario": name,
                f"{OURS}, s": ours,
                f"{REFERENCE}, s": reference,
                "ratio": ratio,
                "aim": AIM,
            }
        )
    return rows


def _all(times: dict[str, dict[str, list[float]]]) -> list[Row]:
    return [
        {"scenario": name, "what": kind, "seconds": " ".join(f"{value:.2f}" for value in values)}
        for name, kinds in times.items()
        for kind, values in kinds.items()
    ]


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        code = main()
    except VmjitterError as error:
        _say(f"{error.message}\n{error.evidence}\n{error.hint}")
        code = 1
    raise SystemExit(code)
