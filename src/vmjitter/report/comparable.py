"""May these two groups of trials be compared, and what is it then that is compared?

A difference of the latencies says something about a change only if nothing else was changed.  So
every condition of every trial is looked at.  Some must be the same, or there is nothing to learn:
the period, the kernel, the loads and so on; a user who knows better names them, and the difference
then stands beside the result.  All others are what the comparison is about: devices, knobs,
settings of host and guest.  They are listed.  So are the kernels of guests to which one plan gave
different ones.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vmjitter.config.parse import nearest
from vmjitter.errors import UsageError
from vmjitter.model.judge import Target
from vmjitter.model.plan import Where
from vmjitter.report.result import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_MISSED, TrialResult
from vmjitter.stats.comparison import PRIMARY, Change, Comparison, Measured, Metric, compare
from vmjitter.store.reader import Run
from vmjitter.units import format_ns

_IMPORT: Final = "import"
_KERNEL: Final = "kernel"
_LENGTHS_ALIKE: Final = 1.01
"""Threads of one program end a few cycles apart; that does not make a maximum incomparable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One trial and the run that it belongs to."""

    run: Run
    trial: TrialResult

    @property
    def imported(self) -> bool:
        """Whether another tool measured it."""
        return self.run.info.bench == _IMPORT


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """One side of a comparison.

    Attributes:
        label: what the user calls it.
        members: its trials that may be used, in the order of their measurement.
        excluded: the others: invalid or incomplete.
    """

    label: str
    members: tuple[Member, ...]
    excluded: tuple[Member, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A condition that is not the same on both sides, or not the same within one of them.

    Attributes:
        name: by which it is allowed; of a listed one the setting or fact.
        what: it is, in words.
        before: its value, or its values; likewise ``after``.
    """

    name: str
    what: str
    before: str
    after: str

    @property
    def text(self) -> str:
        """In words: what it is, and both values."""
        return f"{self.what}: {self.before or 'none'} against {self.after or 'none'}"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the two groups have in common and what not.

    Attributes:
        forbidding: differences that make the comparison worthless unless they are allowed.
        compared: differences that the comparison is about.
        unknown: conditions that one side does not tell, in words.
    """

    forbidding: tuple[Difference, ...]
    compared: tuple[Difference, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Two groups with all that can be said about them.

    Attributes:
        allowed: differences that the user allowed, and that there are.
        order: how the trials followed each other, and what that means.
    """

    before: Group
    after: Group
    target: Target
    conditions: Conditions
    allowed: tuple[Difference, ...]
    order: str
    comparison: Comparison

    @property
    def change(self) -> Change:
        """What the whole says."""
        return self.comparison.change

    @property
    def exit_status(self) -> int:
        """0: not worse, or no difference shown; 3: worse; 4: nothing can be said."""
        if self.change is Change.TOO_FEW:
            return EXIT_INCONCLUSIVE
        return EXIT_MISSED if self.change is Change.WORSE else EXIT_HOLDS

    @property
    def words(self) -> tuple[str, ...]:
        """What every table and figure has to say: the conditions of all trials, each once.

        Of what holds on one side only, the side is named.
        """
        before, after = (_conditions_of(group) for group in (self.before, self.after))
        common = set(before) & set(after)
        texts = (
            text if text in common else f"{text} ({group.label})"
            for group, found in ((self.before, before), (self.after, after))
            for text in found
        )
        return tuple(dict.fromkeys(texts))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was strange in any run or trial of the two, each once."""
        groups = (self.before, self.after)
        members = [member for each in groups for member in (*each.members, *each.excluded)]
        of_runs = [note for member in members for note in member.run.notes]
        of_trials = [
            f"{member.trial.name}: {note}" for member in members for note in member.trial.notes
        ]
        return tuple(dict.fromkeys([*of_runs, *of_trials]))


def _conditions_of(group: Group) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for one in group.members for text in one.trial.conditions))


@dataclass(frozen=True)
class _Condition:
    """A condition that must be the same; ``of`` gives it as text, empty if it is not known."""

    name: str
    what: str
    of: Callable[[Member], str]


def compare_groups(
    before: Group,
    after: Group,
    target: Target,
    *,
    allow: Iterable[str] = (),
    primary: Metric = PRIMARY,
) -> Compared:
    """Compare two groups of trials, if they may be.

    Args:
        before: its trials were read with the target's deadline; likewise ``after``.
        allow: names of conditions that may differ, see `CONDITION_NAMES`.
        primary: see `vmjitter.stats.comparison.compare`.

    Raises:
        UsageError: a condition differs that must not; names every one of them.
    """
    names = _known(allow)
    conditions = examine(before, after)
    wrong = [each for each in conditions.forbidding if each.name not in names]
    if wrong:
        raise UsageError(
            f"{before.label} and {after.label} cannot be compared: "
            + "; ".join(f"{each.text} ({each.name})" for each in wrong),
            hint="measure both under the same conditions, or compare in spite of it with "
            + " ".join(f"--allow {each.name}" for each in wrong),
        )
    blocks = _in_blocks(before, after)
    return Compared(
        before=before,
        after=after,
        target=target,
        conditions=conditions,
        allowed=conditions.forbidding,
        order=_order(before, after, blocks=blocks),
        comparison=compare(
            [_measured(member, blocks=blocks) for member in before.members],
            [_measured(member, blocks=blocks) for member in after.members],
            target,
            primary=primary,
        ),
    )


def group_of(label: str, members: Iterable[Member]) -> Group:
    """A group of trials; those that must not be used are set aside."""
    members = tuple(members)
    return Group(
        label=label,
        members=tuple(member for member in members if member.trial.valid),
        excluded=tuple(member for member in members if not member.trial.valid),
    )


def examine(before: Group, after: Group) -> Conditions:
    """Find out in what the two groups differ."""
    forbidding, unknown = [], []
    for condition in CONDITIONS:
        if condition.name == _KERNEL and _planned_kernels(before, after):
            continue
        values = [_values(condition.of, group) for group in (before, after)]
        if not all(values):  # a group without a trial
            continue
        if "" in values[0] | values[1]:
            sides = [side for side, each in zip("AB", values, strict=True) if "" in each]
            unknown.append(f"{condition.what} ({', '.join(sides)})")
        known = [each - {""} for each in values]
        if all(known) and not _alike(condition.name, known[0] | known[1]):
            forbidding.append(_difference(condition.name, condition.what, *known))
    return Conditions(
        forbidding=tuple(forbidding), compared=_compared(before, after), unknown=tuple(unknown)
    )


def _known(allow: Iterable[str]) -> frozenset[str]:
    names = frozenset(allow)
    for name in sorted(names):
        if name not in CONDITION_NAMES:
            raise UsageError(
                f"--allow {name}: there is no such condition", hint=nearest(name, CONDITION_NAMES)
            )
    return names


def _values(of: Callable[[Member], str], group: Group) -> set[str]:
    return {of(member) for member in group.members}


def _alike(name: str, values: set[str]) -> bool:
    if name != "length" or len(values) < 2:
        return len(values) < 2
    counts = [int(value) for value in values]
    return max(counts) <= _LENGTHS_ALIKE * min(counts)


def _difference(name: str, what: str, before: set[str], after: set[str]) -> Difference:
    texts = (" / ".join(sorted(values)) for values in (before, after))
    return Difference(name=name, what=what, before=next(texts), after=next(texts))


# -- what must be the same -----------------------------------------------------------------------


def _period(member: Member) -> str:
    return format_ns(member.trial.period_ns) if member.trial.period_ns else ""


def _length(member: Member) -> str:
    return str(member.trial.loops or member.trial.recorded)


def _probe(member: Member) -> str:
    if member.imported:
        return member.run.info.host.get("tool", "")
    proof = member.trial.status.probe
    return f"vmjitter {proof.policy}:{proof.priority}" if proof else "vmjitter"


def _kernel(member: Member) -> str:
    """Of the machine in which the probe ran."""
    told = member.trial.status.guest_facts.get("kernel", "")
    if not told and member.trial.status.where != Where.GUEST:
        told = member.run.info.host.get("kernel", "")
    return told


def _planned_kernels(before: Group, after: Group) -> bool:
    """Whether the kernels differ because a plan gave its scenarios' guests different ones."""
    members = (*before.members, *after.members)
    runs = {member.run.path for member in members}
    told = {m.run.info.qemu.get(f"kernel_sha256.{m.trial.scenario}") for m in members}
    return len(runs) == 1 and len(told) > 1 and None not in told


def _host_kernel(member: Member) -> str:
    return "" if member.imported else member.run.info.host.get("kernel", "")


def _host(member: Member) -> str:
    simulation = member.run.info.simulation
    if simulation:
        facts = (simulation.get(name, "") for name in ("machine", "cpus", "cpu_model", "clock"))
        return " ".join(("simulated:", *facts))
    return member.run.info.host.get("cpu", "")


def _loads(member: Member) -> str:
    """What was asked for; that they ran is proven, or the trial would be invalid."""
    if member.imported:
        return ""
    own = {
        f"{load.side} {load.name} {load.rate_wanted or 'as fast as possible'}"
        for load in member.trial.status.loads
        if "(peer)" not in load.name
    }
    return ", ".join(sorted(own)) or "none"


def _accel(member: Member) -> str:
    return "" if member.imported else member.trial.status.accel


def _clock(member: Member) -> str:
    proof = member.trial.status.probe
    return proof.clocksource_before if proof else ""


def _resolution(member: Member) -> str:
    histogram = member.trial.trial.digest.histogram
    return format_ns(histogram.resolution_ns) if histogram.total else ""


CONDITIONS: Final = (
    _Condition("period", "the period", _period),
    _Condition("length", "activations of a trial", _length),
    _Condition("probe", "the probe", _probe),
    _Condition("load", "the loads", _loads),
    _Condition(_KERNEL, "the kernel under the probe", _kernel),
    _Condition("host-kernel", "the host's kernel", _host_kernel),
    _Condition("host", "the host", _host),
    _Condition("accel", "the accelerator", _accel),
    _Condition("clock", "the clock source", _clock),
    _Condition("resolution", "the resolution of the latencies", _resolution),
)
"""What must be the same.  The length, because a longer trial has a later maximum."""

CONDITION_NAMES: Final = tuple(condition.name for condition in CONDITIONS)


# -- what is compared ----------------------------------------------------------------------------

_ASIDE: Final = ("plan.", "judge.", "probe.", "load.", "scenario.", "bench.", "disk.dir")
_ASIDE_TOO: Final = frozenset(
    # the kernel is told by what was booted: scenarios and knobs may choose another
    {"sim.jobs", "sim.title", "sim.repeats", "sim.stall_timeout", "guest.kernel"}
)
_OF_SCENARIO: Final = ("where", "disk", "network", "vhost", "knobs", "trace")
_HOST_FACTS: Final = (
    *("cmdline", "governor", "realtime", "rt_runtime_us", "isolated", "online", "smt", "thp"),
    *("ksm", "halt_poll_ns", "clocksource"),
)


def _compared(before: Group, after: Group) -> tuple[Difference, ...]:
    """Everything else in which they differ, setting by setting."""
    told = [[_settings(member) for member in group.members] for group in (before, after)]
    names = dict.fromkeys(name for group in told for facts in group for name in facts)
    found = []
    for name in names:
        values = [{facts.get(name, "") for facts in group} for group in told]
        if all(values) and len(values[0] | values[1]) > 1:
            found.append(_difference(name, name, *values))
    return tuple(found)


def _settings(member: Member) -> dict[str, str]:
    info, status = member.run.info, member.trial.status
    plan = _flat(_toml(member.run.plan_toml))
    mine = f"scenario.{status.scenario}."
    facts = {name: plan[mine + name] for name in _OF_SCENARIO if mine + name in plan}
    facts |= {
        name: value
        for name, value in plan.items()
        if not name.startswith(_ASIDE) and name not in _ASIDE_TOO
    }
    knobs = {f"{knob.knob}={knob.read_back}" for knob in status.knobs}
    facts |= {"knobs in force": ", ".join(sorted(knobs))} if knobs else {}
    facts |= {"deviations": "; ".join(status.deviations)} if status.deviations else {}
    facts |= {f"host {name}": info.host[name] for name in _HOST_FACTS if info.host.get(name)}
    facts |= {"QEMU": info.qemu["version"]} if info.qemu.get("version") else {}
    kernel = info.qemu.get(f"kernel.{status.scenario}") or info.qemu.get("kernel")
    facts |= {"guest kernel": kernel} if kernel and status.where == Where.GUEST else {}
    return facts


def _toml(text: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # the run's notes say so
        return {}


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = _text(value)
    return found


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


# -- in which order ------------------------------------------------------------------------------


def _measured(member: Member, *, blocks: bool) -> Measured:
    trial = member.trial.trial
    # Two trials of either scenario stand together: ABBA, and again.
    block = (trial.status.round - 1) // 2 if blocks else None
    return Measured(digest=trial.digest, lacks=trial.lacks, block=block)


def _in_blocks(before: Group, after: Group) -> bool:
    """Whether all are rounds of one run, which measured its scenarios in turn."""
    members = (*before.members, *after.members)
    runs = {member.run.path for member in members}
    return len(runs) == 1 and all(member.trial.status.round for member in members)


def _order(before: Group, after: Group, *, blocks: bool) -> str:
    """What the order of the trials means for the comparison."""
    if blocks:
        return "measured in turn (ABBA), so a slow drift of the machine falls on both alike"
    times = [[m.trial.status.started_utc for m in group.members] for group in (before, after)]
    if not all(times) or not all(all(group) for group in times):
        return "it is not known in which order the trials were measured"
    if len({*times[0], *times[1]}) == 1:
        return "measured at the same time"
    if max(times[0]) < min(times[1]) or max(times[1]) < min(times[0]):
        return (
            "all trials of one side were measured before those of the other: whatever else had "
            "changed by then counts as a difference, too; vmjitter run PLAN --compare A,B "
            "measures in turn"
        )
    return "measured in turn, but not in blocks"
