"""Synthetic run directories, written with the writer that also writes the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmjitter.guest.layout import MISSED, RECORD_BYTES, STREAM_MAGIC, VERSION, StreamHeader
from vmjitter.model.run import (
    RUN_FORMAT,
    ClockOffset,
    KnobChange,
    LoadResult,
    ProbeProof,
    RunInfo,
    TrialState,
    TrialStatus,
)
from vmjitter.store.rundir import RAW_SAMPLES_FILE, RunWriter, TrialWriter

Int64s = NDArray[np.int64]

PERIOD_NS = 1_000_000
T0_NS = 5_000_000_000
TSC_HZ = 3_000_000_000
PLAN_TOML = 'name = "paper"\n'


@dataclass(frozen=True, kw_only=True)
class TrialMaker:
    """One synthetic trial.

    Attributes:
        cut_bytes: bytes missing at the end of the raw file, as after a kill.
        begun: whether there is a stream of samples at all.
    """

    status: TrialStatus
    latency_ns: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    cut_bytes: int = 0
    begun: bool = True
    seconds: int = 5


def make_run(path: Path, trials: list[TrialMaker], **changes: object) -> Path:
    """Write a run directory, not sealed."""
    info = RunInfo(
        format=RUN_FORMAT,
        vmjitter="0.1.0",
        plan="paper",
        title="Realtime evaluation of a guest OS on virtualization software",
        created_utc="2026-01-31T14:25:30Z",
        state=TrialState.DONE,
        deadline_ns=None,
        pair=None,
        scenarios=tuple(trial.status.scenario for trial in trials),
        host={"cpu": "Testcore 9000", "kernel": "Linux version 6.12.0 (builder@host)", "smt": ""},
        qemu={"version": "10.0.3", "kernel_release": "6.12.57-rt"},
    )
    run = RunWriter.create(path, replace(info, **changes), PLAN_TOML)  # type: ignore[arg-type]
    for index, trial in enumerate(trials, 1):
        with run.start_trial(index, trial.status) as writer:
            _fill(writer, trial)
    return path


def _fill(writer: TrialWriter, trial: TrialMaker) -> None:
    if trial.begun:
        writer.begin_samples(header_bytes(loops=trial.status.loops, tsc_hz=0))
        writer.append_samples(record_bytes(trial.latency_ns))
        writer.update_samples_header(header_bytes(loops=trial.status.loops))
    writer.write_loads(load_rows(trial.status.loads, trial.seconds))
    writer.console_log.write_text("Linux version 6.12\n")
    writer.qemu_log.write_text("")
    writer.close()
    if trial.cut_bytes:
        raw = writer.path / RAW_SAMPLES_FILE
        raw.write_bytes(raw.read_bytes()[: -trial.cut_bytes])


def header_bytes(*, loops: int, tsc_hz: int = TSC_HZ, period_ns: int = PERIOD_NS) -> bytes:
    """A stream header as the probe writes it."""
    return bytes(
        StreamHeader(
            magic=STREAM_MAGIC,
            version=VERSION,
            header_bytes=64,
            record_bytes=RECORD_BYTES,
            clock_id=1,
            period_ns=period_ns,
            t0_ns=T0_NS,
            tsc_hz=tsc_hz,
            loops=loops,
        )
    )


def record_bytes(latency_ns: Int64s) -> bytes:
    """Stream records of these latencies, with the TSC that belongs to them."""
    records = np.zeros(len(latency_ns), [("latency_ns", "<i8"), ("tsc", "<u8")])
    planned = T0_NS + PERIOD_NS * np.arange(len(latency_ns))
    awake = latency_ns != MISSED
    records["latency_ns"] = latency_ns
    records["tsc"][awake] = (planned[awake] + latency_ns[awake]) * (TSC_HZ // 1_000_000_000)
    return records.tobytes()


def load_rows(loads: tuple[LoadResult, ...], seconds: int) -> Iterator[tuple[str, str, int, int]]:
    """Operations per second of these loads."""
    for load in loads:
        for second in range(seconds):
            yield load.name, load.side, T0_NS + second * 1_000_000_000, load.min_per_s + second


def make_status(scenario: str = "kernel-io", **changes: object) -> TrialStatus:
    """A sound trial under TCG."""
    status = TrialStatus(
        scenario=scenario,
        title="Kernel and I/O load, emulated devices",
        state=TrialState.DONE,
        loops=1000,
        period_ns=PERIOD_NS,
        where="guest",
        paper_max_ns=100_550_000,
        accel="tcg",
        conditions=("TCG: times are not those of a KVM host",),
        started_utc="2026-01-31T14:25:31Z",
        ended_utc="2026-01-31T14:29:31Z",
        probe=make_proof(),
        loads=(make_load("shm"), make_load("udp"), make_load("udp", side="host")),
        clock_before=ClockOffset(offset_ns=-123, bound_ns=40, host_ns=1, rounds=100),
        clock_after=ClockOffset(offset_ns=-120, bound_ns=45, host_ns=2, rounds=100),
        qemu_command=("qemu-system-x86_64", "-nodefaults"),
        phases_ns={"boot": 3_000_000_000},
    )
    return replace(status, **changes)  # type: ignore[arg-type]


def make_proof() -> ProbeProof:
    """What a sound probe says of itself."""
    return ProbeProof(
        policy="fifo",
        priority=95,
        policy_after="fifo",
        priority_after=95,
        affinity=1,
        affinity_after=1,
        mlocked=True,
        t0_ns=T0_NS,
        end_ns=T0_NS + 1000 * PERIOD_NS,
        tsc_hz=TSC_HZ,
        clock_cost_ns=40,
        clock_res_ns=1,
        minflt=0,
        majflt=0,
        nvcsw=1000,
        nivcsw=0,
        clocksource_before="tsc",
        clocksource_after="tsc",
    )


def make_load(name: str, *, side: str = "guest", rate: int = 1000, **changes: object) -> LoadResult:
    """A load that kept its rate for 240 s."""
    load = LoadResult(
        name=name,
        side=side,
        unit="operation",
        rate_wanted=rate,
        ops=rate * 240,
        seconds=240,
        min_per_s=rate - 2,
        longest_stall_s=0,
        errors=0,
        state="done",
        message="",
    )
    return replace(load, **changes)  # type: ignore[arg-type]


def make_knob(*, read_back: str = "fifo:99") -> KnobChange:
    """A knob that was changed."""
    return KnobChange(
        knob="vcpu-priority",
        target="vCPU 0 (1234)",
        before="other:0",
        wanted="fifo:99",
        read_back=read_back,
        after=read_back,
    )


def latencies(count: int, *, seed: int, worst_ns: int, spikes: int = 0) -> Int64s:
    """Latencies like measured ones: a gamma core, spikes, and overruns after the long ones."""
    random = np.random.default_rng(seed)
    latency = random.gamma(6.0, 4_000.0, count).astype(np.int64)
    places = np.sort(random.choice(count, min(spikes or count // 1000, count), replace=False))
    sizes = random.pareto(1.2, len(places)) * 60_000
    latency[places] += np.minimum(sizes, worst_ns * 0.8).astype(np.int64)
    if count:
        latency[count * 2 // 3] = worst_ns
    late = np.flatnonzero(latency > PERIOD_NS)
    for place in late:
        missed = latency[place + 1 : place + 1 + int(latency[place]) // PERIOD_NS]
        missed[:] = MISSED
    return latency
