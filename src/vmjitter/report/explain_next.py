"""What to try against the causes that were found: a setting, and the command that tries it."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmjitter.store.reader import Run, Trial
from vmjitter.trace.lift import CauseRow
from vmjitter.trace.rules import UNEXPLAINED, rule_of

_NETWORK: Final = ("e1000", "rtl8139", "pcnet", "ne2k", "virtio-net", "net")
_DEVICE_KNOBS: Final = {"virtio-disk": ("disk", "virtio"), "virtio-net": ("network", "virtio")}
"""Knobs that change a device, with the scenario's setting and value to the same effect."""


@dataclass(frozen=True, kw_only=True)
class Next:
    """One step.

    Attributes:
        cause: against what; ``knob``: with which setting, empty if there is none.
        text: a sentence.
        command: to be copied; empty if there is none.
    """

    cause: str
    knob: str
    text: str
    command: str


def next_step(run: Run, trial: Trial, rows: Sequence[CauseRow], *, traced: bool) -> Next | None:
    """What to try next for a trial; None if there is nothing to try it against.

    Args:
        run: whose plan is measured again.
        trial: the one with the late wake-ups.
        rows: its causes.
        traced: events were recorded at all.
    """
    if not traced:
        return _record_one(run, trial)
    for row in rows:
        rule = rule_of(row.cause)
        if row.cause == UNEXPLAINED or rule is None or not row.spikes:
            continue
        if row.ordinary:
            continue
        knob = _knob(run, trial, row, rule.knobs)
        if knob:
            text = f"the setting {knob} acts on the largest cause: {rule.title}."
            return Next(cause=row.cause, knob=knob, text=text, command=_command(run, trial, knob))
        if rule.advice:
            text = f"{rule.title}: {rule.advice}."
            return Next(cause=row.cause, knob="", text=text[0].upper() + text[1:], command="")
    return None


def _record_one(run: Run, trial: Trial) -> Next:
    command = f"vmjitter run {shlex.quote(run.info.plan)} --only {_name(trial)} --trace"
    if run.info.bench == "sim":
        command += " --bench sim"
    return Next(
        cause=UNEXPLAINED, knob="", text="There is no trace to explain from.", command=command
    )


def _knob(run: Run, trial: Trial, row: CauseRow, knobs: Sequence[str]) -> str:
    """The first setting that is not in force yet; for a device the one that acts on it."""
    scenario = _scenario(run, trial)
    used = {*_listed(scenario), *(change.knob for change in trial.status.knobs)}
    left = [knob for knob in knobs if knob not in used and not _has(scenario, knob)]
    if "virtio-net" in left and any(word in row.example.lower() for word in _NETWORK):
        return "virtio-net"
    return left[0] if left else ""


def _has(scenario: dict[str, Any], knob: str) -> bool:
    if knob == "vhost-net" and scenario.get("network") != "virtio":
        return True  # it acts on a virtio network only
    key, value = _DEVICE_KNOBS.get(knob, ("", ""))
    if not key:
        return False
    return scenario.get(key) in (value, "none", "", None)


def _scenario(run: Run, trial: Trial) -> dict[str, Any]:
    try:
        found = tomllib.loads(run.plan_toml).get("scenario", {}).get(trial.status.scenario, {})
    except (tomllib.TOMLDecodeError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _listed(scenario: dict[str, Any]) -> list[str]:
    knobs = scenario.get("knobs", [])
    return [str(knob) for knob in knobs] if isinstance(knobs, list) else []


def _command(run: Run, trial: Trial, knob: str) -> str:
    name = _name(trial)
    knobs = ",".join((*_listed(_scenario(run, trial)), knob))
    bench = " --bench sim" if run.info.bench == "sim" else ""
    plan = shlex.quote(run.info.plan)
    return f"vmjitter run {plan} --only {name} --set scenario.{name}.knobs={knobs} --trace{bench}"


def _name(trial: Trial) -> str:
    return shlex.quote(trial.status.scenario)
