"""Whether a trial may be used: every proof it carries, checked.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from vmjitter.loads.progress import STALL_LIMIT_S
from vmjitter.model.plan import Policy, ProbeSpec
from vmjitter.model.run import KnobChange, LoadResult, ProbeProof


def invalid_reasons(
    spec: ProbeSpec,
    proof: ProbeProof,
    loads: Sequence[LoadResult],
    knobs: Sequence[KnobChange],
    *,
    lost: int,
) -> tuple[str, ...]:
    """Reasons why a trial's numbers must not be used; none if it is sound.

    Args:
        spec: what the probe was asked to be.
        proof: what it was.
        loads: what each load did meanwhile.
        knobs: settings that had to be in force.
        lost: records that were overwritten before they were stored.
    """
    return (
        *_probe_reasons(spec, proof),
        *_load_reasons(loads),
        *_knob_reasons(knobs),
        *((f"{lost} samples were lost: the host read the ring too late",) if lost else ()),
    )


def _probe_reasons(spec: ProbeSpec, proof: ProbeProof) -> Iterator[str]:
    wanted = (spec.policy.value, 0 if spec.policy is Policy.OTHER else spec.priority)
    before = (proof.policy, proof.priority)
    after = (proof.policy_after, proof.priority_after)
    if before != wanted:
        yield f"the probe ran as {_policy(before)}, not as {_policy(wanted)}"
    if after != before:
        yield f"the probe lost its policy: {_policy(before)} became {_policy(after)}"
    if proof.affinity_after != proof.affinity:
        yield f"the probe's CPUs changed: {proof.affinity:#x} became {proof.affinity_after:#x}"
    if proof.clocksource_before != proof.clocksource_after:
        yield (
            f"the clocksource changed: {proof.clocksource_before} became {proof.clocksource_after}"
        )
    if proof.minflt or proof.majflt:
        yield (
            f"the probe page-faulted: {proof.minflt} minor, {proof.majflt} major faults while "
            "it measured"
        )
    if not proof.mlocked:
        yield "the probe's memory was not locked"


def _load_reasons(loads: Iterable[LoadResult]) -> Iterator[str]:
    for load in loads:
        where = f"load {load.name} on the {load.side}"
        if load.state != "running":
            yield f"{where} {load.state} before the probe did: {load.message or 'no reason given'}"
        elif load.ops == 0:
            yield f"{where} did nothing while the probe ran"
        elif load.longest_stall_s >= STALL_LIMIT_S:
            yield f"{where} stood still for {load.longest_stall_s} s"


def _knob_reasons(knobs: Iterable[KnobChange]) -> Iterator[str]:
    for knob in knobs:
        if not knob.in_force:
            found = knob.after or knob.read_back
            yield f"knob {knob.knob}: {knob.target} is {found!r}, wanted {knob.wanted!r}"


_NO_PRIORITY: Final = 0


def _policy(value: tuple[str, int]) -> str:
    name, priority = value
    return name if priority == _NO_PRIORITY else f"{name} {priority}"
