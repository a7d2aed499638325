"""Every reason for which a trial must not be used."""

from __future__ import annotations

import dataclasses

import pytest

from vmjitter.model.plan import Policy, ProbeSpec
from vmjitter.model.run import KnobChange, LoadResult, ProbeProof
from vmjitter.session.validity import invalid_reasons
from vmjitter.units import Ns

SPEC = ProbeSpec(period_ns=Ns(1_000_000), loops=1000, policy=Policy.FIFO, priority=80)
PROOF = ProbeProof(
    policy="fifo",
    priority=80,
    policy_after="fifo",
    priority_after=80,
    affinity=1,
    affinity_after=1,
    mlocked=True,
    t0_ns=10**9,
    end_ns=2 * 10**9,
    tsc_hz=3_100_000_000,
    clock_cost_ns=30,
    clock_res_ns=1,
    minflt=0,
    majflt=0,
    nvcsw=1000,
    nivcsw=0,
    clocksource_before="tsc",
    clocksource_after="tsc",
)
LOAD = LoadResult(
    name="sem",
    side="guest",
    unit="acquire and release",
    rate_wanted=100,
    ops=1000,
    seconds=10,
    min_per_s=99,
    longest_stall_s=0,
    errors=0,
    state="running",
    message="",
)
KNOB = KnobChange(
    knob="k", target="t", before="other", wanted="fifo 99", read_back="fifo 99", after="fifo 99"
)


def _reasons(
    proof: ProbeProof = PROOF, load: LoadResult = LOAD, knob: KnobChange = KNOB, lost: int = 0
) -> tuple[str, ...]:
    return invalid_reasons(SPEC, proof, [load], [knob], lost=lost)


def test_a_sound_trial_has_no_reason() -> None:
    assert _reasons() == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy": "other", "priority": 0, "policy_after": "other", "priority_after": 0},
         "ran as other, not as fifo 80"),
        ({"policy_after": "other", "priority_after": 0}, "lost its policy"),
        ({"priority_after": 10}, "fifo 80 became fifo 10"),
        ({"affinity_after": 2}, "CPUs changed: 0x1 became 0x2"),
        ({"clocksource_after": "hpet"}, "clocksource changed: tsc became hpet"),
        ({"minflt": 3}, "page-faulted: 3 minor, 0 major"),
        ({"majflt": 1}, "page-faulted: 0 minor, 1 major"),
        ({"mlocked": False}, "memory was not locked"),
    ],
)  # fmt: skip
def test_each_broken_proof_of_the_probe(change: dict[str, object], words: str) -> None:
    (reason,) = _reasons(proof=dataclasses.replace(PROOF, **change))  # type: ignore[arg-type]
    assert words in reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "failed", "message": "/mnt: No space left"}, "/mnt: No space left"),
        ({"state": "ended"}, "ended before the probe did"),
        ({"ops": 0, "min_per_s": 0}, "did nothing"),
        ({"longest_stall_s": 3, "min_per_s": 0}, "stood still for 3 s"),
    ],
)
def test_each_load_that_did_not_run(change: dict[str, object], words: str) -> None:
    (reason,) = _reasons(load=dataclasses.replace(LOAD, **change))  # type: ignore[arg-type]
    assert words in reason
    assert "sem" in reason


def test_a_knob_that_did_not_hold() -> None:
    (reason,) = _reasons(knob=dataclasses.replace(KNOB, after="other"))
    assert "'other', wanted 'fifo 99'" in reason


def test_lost_samples() -> None:
    (reason,) = _reasons(lost=5)
    assert "5 samples were lost" in reason
