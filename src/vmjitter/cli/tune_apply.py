"""What `vmjitter tune apply` does: knobs one after the other, told as they come or as JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Final

import typer

from vmjitter.cli.output import stderr, stdout
from vmjitter.errors import Interrupted, MissingCapability
from vmjitter.model.run import KnobChange
from vmjitter.tuning.change import capped
from vmjitter.tuning.journal import state_directory
from vmjitter.tuning.knob import Host, Knob, Target
from vmjitter.tuning.live import Step, step
from vmjitter.tuning.target import find_target, starves_main_loop
from vmjitter.tuning.tuner import Tuner, Undone
from vmjitter.tuning.watchdog import Watchdog

_RT_RUNTIME: Final = "/proc/sys/kernel/sched_rt_runtime_us"
_THROTTLING_OFF: Final = "-1"


@dataclass(kw_only=True)
class Application:
    """One `tune apply`.

    Attributes:
        as_json: say nothing on standard output but one JSON document, once all is done.
        made: what was changed.
        in_force: something was so already.
        failed: something could have been done and was not.
    """

    knobs: Sequence[Knob]
    host: Host
    target: Target | None
    hold: bool
    as_json: bool = False
    tuner: Tuner
    made: list[KnobChange] = field(default_factory=list)
    in_force: bool = False
    failed: bool = False
    watchdog: Watchdog | None = None
    _notes: list[dict[str, str]] = field(default_factory=list)
    _changes: list[dict[str, str]] = field(default_factory=list)

    def rehearse(self) -> None:
        """Say what would be done."""
        for knob in self.knobs:
            one = step(knob, self.host, self.target, hold=self.hold)
            for change in one.changes:
                place, wanted = change.title or change.place, change.wanted.strip()
                self._changes.append({"knob": knob.name, "target": place, "wanted": wanted})
                self._line(knob, f"{place} = {wanted}")
            if one.why:
                self._note(knob, one.why)
        self._print_json(dry_run=True)

    def run(self, stack: ExitStack) -> None:
        """Do it, and with ``hold`` put it back when told to end.

        Raises:
            Interrupted: told to end while it was not to put it back.
        """
        try:
            self._perform(stack)
            self._finish()
            if self.hold and self.made:
                stderr().print("holding; Ctrl-C puts everything back")
                threading.Event().wait()
        except KeyboardInterrupt:
            if not self.hold:
                raise Interrupted(
                    "interrupted", hint="`vmjitter tune revert` puts back what was changed"
                ) from None
            self._put_back()

    def warnings(self) -> tuple[str, ...]:
        """What is dangerous about the state that is left behind, with the remedy."""
        if self.hold:
            return ()
        names = {one.knob for one in self.made if one.before != one.read_back}
        raised = any(knob.real_time for knob in self.knobs if knob.name in names)
        unthrottled = "rt-throttling-off" in names
        if not (raised or unthrottled):
            return ()
        return (_unwatched(raised=raised, throttling=self.host.tree.read(_RT_RUNTIME) or ""),)

    def _perform(self, stack: ExitStack) -> None:
        self._watch(stack)
        for knob in self.knobs:
            # a thread that QEMU has started since inherits what its creator has by now
            if self.target is not None:
                self.target = find_target(self.host, self.target.pid)
            self._one(step(knob, self.host, self.target, hold=self.hold))

    def _finish(self) -> None:
        if self.made and not self.hold:
            stderr().print("put it back with: vmjitter tune revert", highlight=False)
        for text in self.warnings():
            stderr().print(f"warning: {text}", markup=False, soft_wrap=True)
        self._print_json(dry_run=False)

    def _put_back(self) -> None:
        done = self.tuner.revert(self.tuner.owned())
        for text in map(undone_line, done):
            console = stderr() if self.as_json else stdout()
            console.print(text, markup=False, soft_wrap=True)
        for line in self.watchdog.report() if self.watchdog is not None else ():
            stderr().print(f"watchdog: {line}", markup=False)

    def _watch(self, stack: ExitStack) -> None:
        wanted = [knob for knob in self.knobs if knob.real_time]
        if not any(step(one, self.host, self.target, hold=self.hold).changes for one in wanted):
            return
        directory = state_directory()
        try:
            dog = Watchdog(directory, log=directory / "watchdog.log", cpus=self.host.other_cpus)
        except OSError as error:
            raise MissingCapability(
                f"the watchdog's log cannot be written: {error}", hint="run as root"
            ) from error
        self.watchdog = stack.enter_context(dog)

    def _one(self, one: Step) -> None:
        changes = one.changes
        why = self._refusal(one)
        if why or not changes:
            self._note(one.knob, why or one.why)
            self.failed = self.failed or bool(why)
            return
        if self.watchdog is not None:
            changes = capped(changes, self.watchdog.highest)
        try:
            made = self.tuner.apply(one.knob.name, changes)
        except MissingCapability as error:
            self.failed = True
            self._note(one.knob, f"{error.message}; {error.hint}")
            return
        self._tell(one, made)

    def _refusal(self, one: Step) -> str:
        """Why it must not be done, although it could be."""
        if not (one.changes and one.knob.real_time):
            return ""
        if self.watchdog is None or not self.watchdog.highest:
            rank = self.watchdog.rank if self.watchdog is not None else "it was not started"
            return f"left out: no watchdog can stand above it, {rank}"
        return starves_main_loop(self.target, one.changes) if self.target is not None else ""

    def _tell(self, one: Step, made: Sequence[KnobChange]) -> None:
        for change in made:
            same = change.before == change.read_back
            text = f"{change.target}: {change.before.strip() or 'absent'} -> "
            self._changes.append(asdict(change))
            self._line(one.knob, text + change.read_back.strip() + (" (as before)" if same else ""))
            if change.read_back != change.wanted:
                self.failed = True
                self._note(one.knob, f"{change.target} is not {change.wanted.strip()}")
            self.in_force = self.in_force or same
        self.made += [change for change in made if change.before != change.read_back]
        for refused in self.tuner.refused:
            self._note(one.knob, f"the kernel refused {refused}")
        self.tuner.refused.clear()
        if one.why:
            self._note(one.knob, one.why)

    def _note(self, knob: Knob, text: str) -> None:
        self._notes.append({"knob": knob.name, "text": text})
        self._line(knob, text)

    def _line(self, knob: Knob, text: str) -> None:
        if not self.as_json:
            stdout().print(f"{knob.name}: {text}", markup=False, soft_wrap=True)

    def _print_json(self, *, dry_run: bool) -> None:
        if not self.as_json:
            return
        content = {
            "format": 1,
            "dry_run": dry_run,
            "changes": self._changes,
            "notes": self._notes,
            "warnings": list(self.warnings()),
        }
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def undone_line(one: Undone, what: str = "") -> str:
    """What became of a change that was to be put back, in a line.

    Args:
        one: the change.
        what: instead of the usual words for it.
    """
    text = f"{one.entry.title}: {what or one.how.value}, {_values(one)}".rstrip(", ")
    return f"{one.entry.knob}: {text}"


def _values(one: Undone) -> str:
    before = one.entry.before.strip() or "absent"
    if one.how.name in {"RESTORED", "UNCHANGED"}:
        return before
    if one.how.name == "FAILED":
        return one.reason
    return f"is {one.found.strip()}, was {before} before" if one.found else ""


def _unwatched(*, raised: bool, throttling: str) -> str:
    """The warning.

    The kernel's own throttling leaves others 5 % of each second, kernel.sched_rt_runtime_us in
    Documentation/scheduler/sched-rt-group.rst.
    """
    what = "real-time priorities stay" if raised else "throttling of real-time threads is off"
    off = throttling == _THROTTLING_OFF
    danger = (
        "a thread that never sleeps can take this machine down for good"
        if off
        else "what is busy at them leaves the rest 50 ms in each second"
        if throttling
        else "what is busy at them can starve the rest"
    )
    remedy = (
        "--hold keeps the watchdog until Ctrl-C, or switch throttling on again: "
        "sysctl kernel.sched_rt_runtime_us=950000"
        if off
        else "--hold keeps the watchdog until Ctrl-C; leave throttling on (no rt-throttling-off)"
    )
    return f"{what}, and nobody watches over them from now on: {danger}; {remedy}"
