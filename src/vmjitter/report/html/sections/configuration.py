"""Host, guest and QEMU, and what differs from one trial to the next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from vmjitter.model.run import KnobChange, TrialStatus
from vmjitter.report.html.blocks import (
    Block,
    Code,
    Fold,
    Row,
    Section,
    Tone,
    code,
    paragraphs,
    row,
    table,
)
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.view import PageView, TrialView

_NOT_THERE: Final = "\N{EN DASH}"
_DESCRIPTOR: Final = re.compile(r"(\bfd=|/fd/)\d+")


def section(view: PageView) -> Section:
    """Differences first, the facts that all trials share folded below."""
    info = view.result.run.info
    blocks = _settings(view)
    facts = {
        "Host": info.host,
        "QEMU, kernel and image": info.qemu,
        "Simulated host": info.simulation,
    }
    blocks += [_facts(title, values) for title, values in facts.items() if values]
    blocks += _probes([trial for trial in view.trials if trial.result.status.probe])
    blocks += [_command(trial) for trial in view.trials if trial.result.status.qemu_command]
    if not blocks:
        blocks.append(paragraphs("Nothing is known of host and guest."))
    return Section(anchor="configuration", title="Configuration", blocks=tuple(blocks))


def _settings(view: PageView) -> list[Block]:
    """What differs, what was changed, and what is the same in all trials."""
    names = [trial.name for trial in view.trials]
    differing, alike = compared({trial.name: settings_of(trial) for trial in view.trials})
    guests = {t.name: guest_settings_of(t) for t in view.trials if t.result.status.qemu_command}
    guest_differing, guest_alike = compared(guests)
    for setting, values in guest_differing.items():
        by_name = dict(zip(guests, values, strict=True))
        differing[setting] = [by_name.get(name, "") for name in names]
    blocks: list[Block] = []
    if len(names) > 1:
        blocks.append(_differences(names, differing))
    knobs = [_knob(t, knob) for t in view.trials for knob in t.result.status.knobs]
    if knobs:
        blocks.append(table("Settings that were changed for a trial", _KNOBS, knobs))
    same = {"Settings of every trial": alike, "Settings of every guest": guest_alike}
    return [*blocks, *(_facts(title, facts) for title, facts in same.items() if facts)]


_KNOBS: Final = (
    "trial",
    "setting",
    "of",
    "before",
    "wanted",
    "read back",
    "at the end",
    "in force",
)


def settings_of(trial: TrialView) -> dict[str, str]:
    """Everything that makes a trial what it is, as text by name."""
    status = trial.result.status
    loads = [f"{load.name} ({load.side}, {load.rate_wanted or 'max'}/s)" for load in status.loads]
    settings = {
        "title": status.title,
        "where probe and loads run": status.where,
        "accelerator": status.accel,
        "period": f"{trial.result.period_ns} ns",
        "activations": str(trial.result.loops),
        "loads": ", ".join(loads),
        "changed settings": ", ".join(_unique(knob.knob for knob in status.knobs)),
        "deviations": "\n".join(status.deviations),
    }
    return {name: value for name, value in settings.items() if value}


def guest_settings_of(trial: TrialView) -> dict[str, str]:
    """What makes a trial's guest: its own facts and QEMU's options.

    Left out is what differs by chance: times of the boot, numbers of descriptors, the trial's
    directory.
    """
    status = trial.result.status
    facts = {
        f"guest: {name}": value
        for name, value in status.guest_facts.items()
        if not name.endswith("_ns")
    }
    path = str(trial.result.trial.path)
    options = {
        name: _DESCRIPTOR.sub(r"\1…", value.replace(path, "…"))
        for name, value in qemu_options(status).items()
    }
    return {name: value for name, value in (facts | options).items() if value}


def qemu_options(status: TrialStatus) -> dict[str, str]:
    """QEMU's options by name; those that are given several times are joined, in their order.

    What starts QEMU, such as taskset, is an option of its own.
    """
    command = list(status.qemu_command)
    place = next((i for i, word in enumerate(command) if "qemu" in word.rpartition("/")[2]), 0)
    options: dict[str, list[str]] = {"started by": [shlex.join(command[:place])]} if place else {}
    name = ""
    for word in command[place + 1 :]:
        if word.startswith("-") and len(word) > 1:
            name = word
            options.setdefault(name, [])
        else:
            options.setdefault(name, []).append(word)
    return {f"qemu {key}".strip(): "\n".join(values) or "given" for key, values in options.items()}


def compared(
    settings: Mapping[str, Mapping[str, str]],
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The settings that differ, with a value per trial, and those that are the same in all.

    Of a setting with several lines, only those lines differ that not every trial has.
    """
    names = _unique(name for values in settings.values() for name in values)
    differing: dict[str, list[str]] = {}
    alike: dict[str, str] = {}
    for name in names:
        values = [each.get(name, "") for each in settings.values()]
        if len(set(values)) == 1:
            alike[name] = values[0]
            continue
        lines = [value.split("\n") for value in values]
        common = set(lines[0]).intersection(*lines[1:])
        differing[name] = ["\n".join(one for one in each if one not in common) for each in lines]
        if common - {""}:
            alike[f"{name} (common)"] = "\n".join(one for one in lines[0] if one in common)
    return differing, alike


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _differences(names: Sequence[str], differing: Mapping[str, Sequence[str]]) -> Block:
    if not differing:
        return paragraphs("All trials have the same settings.")
    rows = [
        row(words(name), *(code(value or _NOT_THERE) for value in values))
        for name, values in differing.items()
    ]
    return table("What differs between the trials", ("setting", *names), rows)


def _knob(trial: TrialView, knob: KnobChange) -> Row:
    held = words("yes", Tone.GOOD) if knob.in_force else words("NO", Tone.BAD)
    values = (knob.target, knob.before, knob.wanted, knob.read_back, knob.after)
    return row(words(trial.name), words(knob.knob), *(code(value) for value in values), held)


def _facts(title: str, values: Mapping[str, str]) -> Fold:
    rows = [row(words(name), code(value)) for name, value in values.items() if value]
    return Fold(title=title, blocks=(table(title, ("fact", "value"), rows),))


def _probes(trials: Sequence[TrialView]) -> list[Block]:
    """What the probe says of itself in each trial: policy, faults, clock."""
    if not trials:
        return []
    proofs = [_proofs(trial.result.status) for trial in trials]
    names = _unique(name for each in proofs for name in each)
    rows = [
        row(words(name), *(code(each.get(name, _NOT_THERE)) for each in proofs)) for name in names
    ]
    title = "Probe and clock"
    columns = ("proof", *(trial.name for trial in trials))
    return [Fold(title=title, blocks=(table(title, columns, rows),))]


def _proofs(status: TrialStatus) -> dict[str, str]:
    probe = status.probe
    if probe is None:
        return {}
    proofs = {
        "policy and priority": f"{probe.policy} {probe.priority}, afterwards "
        f"{probe.policy_after} {probe.priority_after}",
        "affinity": f"{probe.affinity:#x}, afterwards {probe.affinity_after:#x}",
        "memory locked": "yes" if probe.mlocked else "no",
        "page faults (minor, major)": f"{probe.minflt}, {probe.majflt}",
        "context switches (voluntary, involuntary)": f"{probe.nvcsw}, {probe.nivcsw}",
        "clock source": f"{probe.clocksource_before}, afterwards {probe.clocksource_after}",
        "cost of a clock read": f"{probe.clock_cost_ns} ns",
        "resolution of the clock": f"{probe.clock_res_ns} ns",
        "time stamp counter": f"{probe.tsc_hz} Hz",
    }
    for when, offset in (("before", status.clock_before), ("after", status.clock_after)):
        if offset is not None:
            proofs[f"guest clock minus host clock, {when}"] = (
                f"{offset.offset_ns} ns ± {offset.bound_ns} ns"
            )
    return proofs


def _command(trial: TrialView) -> Fold:
    command = shlex.join(trial.result.status.qemu_command).replace(" -", " \\\n  -")
    return Fold(title=f"QEMU command of {trial.name}", blocks=(Code(text=command),))
