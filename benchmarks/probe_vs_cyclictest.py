"""Our probe against cyclictest, in one guest, alternating, in virtual time.

Run it from the repository's root:

    .venv/bin/python -m benchmarks.probe_vs_cyclictest --help

The guest runs under plain TCG with `-icount shift=0,sleep=off`: one instruction is one nanosecond
of the guest's time, and while it idles the clock jumps to its next timer.  What else this machine
does cannot be seen in the result.  docs/method/probe-against-cyclictest.md has the method.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.common import Row, host_conditions, parser, positive, qemu_condition, scratch, show
from benchmarks.guests import BOOT_TIMEOUT_NS, Booted, started, wait_finished

from vmjitter.errors import GuestCommandFailed, VmjitterError
from vmjitter.guest.apt import fetch_package
from vmjitter.guest.cache import cache_root
from vmjitter.guest.image import GuestImage, build_image, guest_programs
from vmjitter.guest.kernels import fetch_kernel
from vmjitter.guest.shm import Drain
from vmjitter.loads.catalog import LOADS, Place, load_argv
from vmjitter.loads.progress import LoadMonitor
from vmjitter.model.plan import Accel, Disk, LoadSpec, Network, Policy, ProbeSpec
from vmjitter.probe.native import probe_argv, read_proof
from vmjitter.qemu.cmdline import Machine
from vmjitter.session.guest_side import SHM_IN_GUEST
from vmjitter.session.guest_trial import KERNEL_ARGUMENTS
from vmjitter.stats.histogram import MISSED
from vmjitter.stats.summary import Latencies, Summary, summarize
from vmjitter.units import Ns

KERNEL: Final = "debian-rt-i386"
PERIOD_NS: Final = 1_000_000
PRIORITY: Final = 80
CLOCKSOURCE: Final = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
BUCKETS: Final = 200_000
"""cyclictest's histogram: so many buckets of 1 ns; what is later is an error here."""

KERNEL_LOADS: Final = ("shm", "mem", "sched", "timer", "sem")
PAGE_LINES: Final = 8000  # of "latency count\n", below the 128 KiB of a reply
TIMEOUT_S: Final = 1800.0
PROBE: Final = "probe"
CYCLICTEST: Final = "cyclictest"
HISTOGRAM: Final = "/tmp/cyclictest.hist"
_ATTEMPTS_S: Final = 60.0

# library in the guest -> package and place in it; the dynamic loader and what `readelf -d` of
# cyclictest 2.4 and of libnuma names as NEEDED
LIBRARIES: Final = {
    "lib/ld-linux.so.2": ("libc6", "lib/i386-linux-gnu/ld-linux.so.2"),
    "lib/libc.so.6": ("libc6", "lib/i386-linux-gnu/libc.so.6"),
    "lib/libpthread.so.0": ("libc6", "lib/i386-linux-gnu/libpthread.so.0"),
    "lib/librt.so.1": ("libc6", "lib/i386-linux-gnu/librt.so.1"),
    "lib/libnuma.so.1": ("libnuma1", "usr/lib/i386-linux-gnu/libnuma.so.1"),
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """One run of one tool."""

    tool: str
    latency_ns: Latencies
    phase_us: int | None
    load_rate: float


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for."""

    loops: int
    blocks: int
    conditions: tuple[str, ...]
    same_phase: bool
    cyclictest: tuple[str, ...]
    probe: Path | None
    as_json: bool
    save: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 whatever the figures are."""
    options = _options(arguments)
    packages, image = _image(options.probe)
    with scratch() as directory, _guest(image, directory) as booted:
        conditions = {**_conditions(booted, options), **packages}
        blocks = {name: _condition(booted, options, name) for name in options.conditions}
    if options.save is not None:
        _save(options.save, blocks)
    tables: dict[str, Sequence[Row]] = {}
    for name, measured in blocks.items():
        tables[f"{name}: all blocks together"] = _pooled(measured)
        tables[f"{name}: each block, in the order measured"] = _each(measured)
    show(conditions, tables, as_json=options.as_json)
    return 0


def _options(arguments: Sequence[str] | None) -> Options:
    made = parser("Our probe against cyclictest in one guest, alternating, in virtual time.")
    made.add_argument("-l", "--loops", type=positive, default=10_000, help="activations per block")
    made.add_argument("--blocks", type=positive, default=4, help="blocks of each tool")
    made.add_argument(
        "--only", choices=("idle", "kernel load"), action="append", help="this condition only"
    )
    made.add_argument(
        "--any-phase",
        action="store_true",
        help="let cyclictest begin whenever it does, and change the order: A B B A ...",
    )
    made.add_argument(
        "--cyclictest",
        default="-q -M",
        help="options of cyclictest besides -N -m -p -i -l -h, which are always given",
    )
    made.add_argument("--probe", type=Path, help="another i386 build of the probe to measure")
    made.add_argument("--save", type=Path, help="write every latency to this .npz file")
    got: argparse.Namespace = made.parse_args(arguments)
    return Options(
        loops=got.loops,
        blocks=got.blocks,
        conditions=tuple(got.only or ("idle", "kernel load")),
        same_phase=not got.any_phase,
        cyclictest=tuple(got.cyclictest.split()),
        probe=got.probe,
        as_json=got.json,
        save=got.save,
    )


def _image(probe: Path | None) -> tuple[dict[str, str], GuestImage]:
    kernel = fetch_kernel(KERNEL)
    packages = {name: fetch_package(name, "i386") for name in ("rt-tests", "libc6", "libnuma1")}
    programs = {
        **guest_programs("i386"),
        "bin/cyclictest": packages["rt-tests"].root / "usr/bin/cyclictest",
        **{path: packages[name].root / inside for path, (name, inside) in LIBRARIES.items()},
    }
    if probe is not None:
        programs["bin/probe"] = probe
    image = build_image(kernel, modules=(), programs=programs, cache=cache_root())
    versions = {f"package {p.name}": f"{p.version} ({p.arch})" for p in packages.values()}
    digest = hashlib.sha256(programs["bin/probe"].read_bytes()).hexdigest()
    versions["probe"] = f"{probe or 'as built'}, sha256 {digest[:16]}"
    versions["guest kernel package"] = f"{kernel.package} {kernel.package_version}"
    return versions, image


@contextmanager
def _guest(image: GuestImage, directory: Path) -> Iterator[Booted]:
    machine = Machine(
        accel=Accel.TCG,
        kernel=image.kernel.vmlinuz,
        initramfs=image.initramfs,
        append=" ".join(KERNEL_ARGUMENTS),
        memory_bytes=1 << 30,
        vcpus=1,
        disk=Disk.NONE,
        network=Network.NONE,
        vhost=False,
        icount_shift=0,
    )
    _say("booting")
    with started(machine, directory) as booted:
        booted.machine.wait_ready(BOOT_TIMEOUT_NS)
        _settle(booted)
        yield booted
        booted.machine.power_off()


def _settle(booted: Booted) -> None:
    """Wait until the kernel has gone over from tsc-early to its final clocksource."""
    agent = booted.machine.agent
    for _ in range(60):
        if not agent.check(["cat", CLOCKSOURCE]).strip().endswith("-early"):
            return
        agent.check(["sleep", "1"])


def _conditions(booted: Booted, options: Options) -> dict[str, str]:
    agent = booted.machine.agent
    return {
        **host_conditions(),
        **qemu_condition(),
        "icount": "shift=0,sleep=off: 1 instruction is 1 ns of virtual time",
        "guest kernel": agent.check(["uname", "-srvm"]).strip(),
        "guest clocksource": agent.check(["cat", CLOCKSOURCE]).strip(),
        "period, policy": f"{PERIOD_NS} ns, SCHED_FIFO {PRIORITY}, memory locked, one CPU",
        "activations": f"{options.blocks} blocks of {options.loops} for each tool",
        "cyclictest": " ".join(_cyclictest_argv(options, "PHASE" if options.same_phase else "")),
        "phase": "cyclictest takes over the probe's, to the microsecond"
        if options.same_phase
        else "wherever each of them begins",
        "resolution": "1 ns for both (cyclictest: -N and buckets of 1 ns)",
        "missed": "probe: recorded one by one; cyclictest: whole periods in its latencies",
    }


def _condition(booted: Booted, options: Options, name: str) -> list[Block]:
    with _loads(booted, KERNEL_LOADS if name != "idle" else ()) as slots:
        measured: list[Block] = []
        for number, tool in enumerate(turns(options.blocks, same_phase=options.same_phase)):
            _say(f"{name}: block {number + 1} of {2 * options.blocks}, {tool}")
            phase_us = measured[-1].phase_us if measured and options.same_phase else None
            measured.append(_block(booted, options, tool, slots, phase_us))
        return measured


def _block(
    booted: Booted, options: Options, tool: str, slots: range, phase_us: int | None
) -> Block:
    operations, begin_s = _operations(booted, slots), _uptime_s(booted)
    if tool == PROBE:
        latency_ns = _probe(booted, options)
        phase_us = read_proof(booted.shm).t0_ns // 1000 % (PERIOD_NS // 1000)
    else:
        latency_ns = _cyclictest(booted, options, phase_us)
    rate = (_operations(booted, slots) - operations) / (_uptime_s(booted) - begin_s)
    return Block(tool=tool, latency_ns=latency_ns, phase_us=phase_us, load_rate=rate)


def turns(blocks: int, *, same_phase: bool) -> list[str]:
    """A B A B ..., since cyclictest can take over a phase and the probe cannot; else A B B A.

    Pure.
    """
    pairs = ((PROBE, CYCLICTEST), (PROBE, CYCLICTEST) if same_phase else (CYCLICTEST, PROBE))
    return [tool for number in range(blocks) for tool in pairs[number % 2]]


def _probe(booted: Booted, options: Options) -> Latencies:
    spec = ProbeSpec(
        period_ns=Ns(PERIOD_NS), loops=options.loops, policy=Policy.FIFO, priority=PRIORITY
    )
    booted.shm.probe.written = 0  # a trial has a memory of its own; here it is used again
    drain = Drain(booted.shm)
    taken: list[bytes] = []
    booted.machine.agent.start("run", *probe_argv("/bin/probe", spec, SHM_IN_GUEST))
    reply = wait_finished(booted, lambda: taken.append(drain.take()), TIMEOUT_S)
    taken.append(drain.take())
    if reply.status != 0 or drain.lost:
        raise GuestCommandFailed(f"probe: status {reply.status}, lost {drain.lost}: {reply.text}")
    proof = read_proof(booted.shm)
    _say(f"  page faults {proof.minflt}+{proof.majflt}, clock {proof.clock_cost_ns} ns")
    return np.frombuffer(b"".join(taken), dtype="<i8")[::2].astype(np.int64)


def _cyclictest_argv(options: Options, phase: str) -> tuple[str, ...]:
    return (
        *("/bin/cyclictest", "-N", "-m", f"-p{PRIORITY}", f"-i{PERIOD_NS // 1000}"),
        *("-l", str(options.loops), "-h", str(BUCKETS), f"--histfile={HISTOGRAM}"),
        *options.cyclictest,
        *((f"--secaligned={phase}",) if phase else ()),
    )


def _cyclictest(booted: Booted, options: Options, phase_us: int | None) -> Latencies:
    phase = "" if phase_us is None else str(phase_us)
    reply = booted.run(_cyclictest_argv(options, phase), timeout_s=TIMEOUT_S)
    if reply.status != 0:
        raise GuestCommandFailed(f"cyclictest: status {reply.status}: {reply.text}")
    agent = booted.machine.agent
    # only buckets that hold something, and the summary, leave the guest
    awk = f"/^#/ || $2 + 0 > 0 {{ print $1, $2, $3, $4 }}' {HISTOGRAM} > {HISTOGRAM}.short"
    agent.check(["sh", "-c", f"awk '{awk}"], timeout_s=TIMEOUT_S)
    text = ""
    for page in range(1, 1 << 20):
        first, last = (page - 1) * PAGE_LINES + 1, page * PAGE_LINES
        lines = agent.check(["sed", "-n", f"{first},{last}p", f"{HISTOGRAM}.short"])
        if not lines:
            break
        text += lines
    return histogram_latencies(text, options.loops)


def histogram_latencies(text: str, loops: int) -> Latencies:
    """Every latency in cyclictest's histogram, and `MISSED` for each period skipped.  Pure.

    cyclictest counts wake-ups only, and goes on with the first planned time after the wake-up;
    so a latency of n whole periods and something has skipped n activations.

    Raises:
        GuestCommandFailed: the histogram does not have all wake-ups.
    """
    pairs = [(int(a), int(b)) for a, b in re.findall(r"^(\d+) (\d+)\s*$", text, re.MULTILINE)]
    values = np.array([value for value, _ in pairs], dtype=np.int64)
    counts = np.array([count for _, count in pairs], dtype=np.int64)
    if int(counts.sum()) != loops:
        summary = "\n".join(line for line in text.splitlines() if line.startswith("#"))
        raise GuestCommandFailed(f"{counts.sum()} of {loops} wake-ups", evidence=summary)
    skipped = int((values // PERIOD_NS * counts).sum())
    missed = np.full(skipped, MISSED, dtype=np.int64)
    return np.concatenate([np.repeat(values, counts), missed])


@contextmanager
def _loads(booted: Booted, names: Sequence[str]) -> Iterator[range]:
    """The loads of a plan at their default rates, running before and until after the block."""
    monitor = LoadMonitor(booted.shm)
    place = Place(program="/bin/load", shm_path=SHM_IN_GUEST, disk_dir="", peer="")
    booted.shm.control.load_stop = 0
    for slot, name in enumerate(names):
        spec = LoadSpec(name=name, rate=LOADS[name].rate)
        booted.machine.agent.call("spawn", *load_argv(spec, place, slot))
        monitor.add(slot, name, "guest")
    for _ in range(round(_ATTEMPTS_S / 0.05)):
        if not monitor.waiting_for():
            break
        booted.machine.agent.pause(0.05)
    else:
        raise GuestCommandFailed(f"a load did not start: {monitor.waiting_for()}")
    yield range(len(names))
    if failed := monitor.failed():
        raise GuestCommandFailed(f"a load failed: {failed}")
    booted.shm.control.load_stop = 1
    while names and not monitor.all_ended():
        booted.machine.agent.pause(0.02)


def _operations(booted: Booted, slots: range) -> int:
    return sum(int(booted.shm.loads[slot].ops) for slot in slots)


def _uptime_s(booted: Booted) -> float:
    return float(booted.machine.agent.check(["cat", "/proc/uptime"]).split()[0])


def _pooled(blocks: Sequence[Block]) -> list[Row]:
    rows: list[Row] = []
    for tool in (PROBE, CYCLICTEST):
        pooled = np.concatenate([block.latency_ns for block in blocks if block.tool == tool])
        rows.append({"tool": tool, **_figures(summarize(pooled))})
    return rows


def _each(blocks: Sequence[Block]) -> list[Row]:
    return [
        {
            "block": number,
            "tool": block.tool,
            "phase us": block.phase_us,
            **_figures(summarize(block.latency_ns)),
            "load operations/s": round(block.load_rate),
        }
        for number, block in enumerate(blocks, 1)
    ]


def _figures(summary: Summary) -> dict[str, int | None]:
    return {
        "wake-ups": summary.count,
        "missed": summary.overruns,
        "min ns": summary.min_ns,
        "p50 ns": summary.p50_ns,
        "p99.9 ns": summary.p999_ns,
        "max ns": summary.max_ns,
    }


def _save(path: Path, blocks: dict[str, list[Block]]) -> None:
    arrays = {
        f"{name}/{number:02d}-{block.tool}": block.latency_ns
        for name, measured in blocks.items()
        for number, block in enumerate(measured)
    }
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        status = main()
    except VmjitterError as error:
        _say(f"{error.message}\n{error.evidence}\n{error.hint}")
        status = 1
    raise SystemExit(status)
