"""What this machine has for the simulated host, and what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vmjitter.effects.systree import SysTree
from vmjitter.errors import MissingCapability, VmjitterError
from vmjitter.guest.apt import find_sources
from vmjitter.guest.cache import cache_root
from vmjitter.model.sim import SimSpec
from vmjitter.qemu.machine import qemu_program, qemu_version
from vmjitter.sim.build import find_build

_GIB: Final = 1 << 30
_BUILD_BYTES: Final = 2 * _GIB
_OVERHEAD_BYTES: Final = 128 << 20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        ok: nothing is missing.
        evidence: what was found.
        cure: what to do about it, or empty.
        needed: the simulated host cannot be used at all without it.
    """

    id: str
    ok: bool
    evidence: str
    cure: str = ""
    needed: bool = True


def examine(spec: SimSpec, tree: SysTree) -> tuple[Finding, ...]:
    """Look at everything; nothing is changed and nothing is fetched."""
    return (
        _processor(),
        _built(spec),
        _space(),
        _memory(spec, tree),
        _real_clock(),
    )


def _processor() -> Finding:
    machine = os.uname().machine
    return Finding(
        id="processor",
        ok=machine == "x86_64",
        evidence=f"{machine}, {len(os.sched_getaffinity(0))} CPUs usable",
        cure=""
        if machine == "x86_64"
        else "the simulator is a program for x86-64: use such a machine",
    )


def _built(spec: SimSpec) -> Finding:
    found = find_build(spec.kernel)
    if found is not None:
        facts = ", ".join(f"{name} {value}" for name, value in found.facts().items() if value)
        return Finding(id="build", ok=True, evidence=f"in the cache: {facts}")
    missing = next(_cannot_fetch(), "")
    return Finding(
        id="build",
        ok=not missing,
        evidence="not in the cache yet" + (f", and {missing}" if missing else ""),
        cure="" if missing else "vmjitter sim build",
    )


def _cannot_fetch() -> Iterator[str]:
    try:
        find_sources("x86_64")
    except VmjitterError as error:
        yield f"{error.message}: {error.hint}" if error.hint else error.message


def _space() -> Finding:
    place = next(path for path in (cache_root(), *cache_root().parents) if path.exists())
    free = shutil.disk_usage(place).free
    return Finding(
        id="space",
        ok=free > _BUILD_BYTES,
        evidence=f"{free / _GIB:.1f} GiB free at {place}, about 0.5 GiB are used",
        cure="" if free > _BUILD_BYTES else "free some, or set VMJITTER_CACHE to another place",
    )


def _memory(spec: SimSpec, tree: SysTree) -> Finding:
    line = next(
        (line for line in (tree.read("/proc/meminfo") or "").splitlines() if "MemAvail" in line), ""
    )
    available = int((line.split() or ["", "0"])[1]) * 1024
    each = spec.memory_bytes + _OVERHEAD_BYTES
    return Finding(
        id="memory",
        ok=available > each,
        evidence=f"{available / _GIB:.1f} GiB available, room for {available // each} hosts "
        f"of {spec.machine}",
        cure="" if available > each else "use a smaller machine: --set sim.memory=1536M",
    )


def _real_clock() -> Finding:
    try:
        return Finding(
            id="real clock", ok=True, evidence=f"QEMU {qemu_version(qemu_program())}", needed=False
        )
    except MissingCapability as error:
        return Finding(
            id="real clock", ok=False, evidence=error.message, cure=error.hint, needed=False
        )
