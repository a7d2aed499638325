"""The knobs of one trial: applied in their order, read back, verified at the end, taken back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vmjitter.effects.process import split_cpus
from vmjitter.effects.threads import threads
from vmjitter.errors import CommandFailed, GuestLost, MissingCapability
from vmjitter.model.plan import Accel, Plan, Scenario
from vmjitter.model.run import KnobChange
from vmjitter.qemu.cmdline import Machine
from vmjitter.qemu.machine import QemuMachine
from vmjitter.session.outcome import Outcome
from vmjitter.tuning.change import Change, capped
from vmjitter.tuning.guest_files import GuestFiles
from vmjitter.tuning.journal import Journal, Unwritten, state_directory
from vmjitter.tuning.knob import Host, Knob, Target
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.media import media
from vmjitter.tuning.target import starves_main_loop, target_of
from vmjitter.tuning.tuner import Act, How, Tuner
from vmjitter.tuning.watchdog import Watchdog

_UNDONE: Final = (How.RESTORED, How.UNCHANGED, How.GONE, How.HANDED_ON)


class Tuning:
    """Use as a context: everything that was changed on the host is taken back at its end.

    A knob that cannot be used here is a deviation of the trial, with the reason; it does not keep
    the others from being used.

    Args:
        plan: gives the guest's CPUs and memory.
        scenario: gives the knobs.
        accel: how QEMU will run the guest's instructions.
        outcome: of the trial.
        log: file of everything that was written, with its time, and of what the watchdog did; made
            only if there is something.  None keeps it with the journal.
    """

    def __init__(
        self,
        plan: Plan,
        scenario: Scenario,
        accel: Accel,
        outcome: Outcome,
        log: Path | None = None,
    ) -> None:
        guest_cpus, other_cpus = split_cpus(plan.guest.host_cpus)
        self._host = Host(
            guest_cpus=guest_cpus,
            other_cpus=other_cpus,
            accel=accel,
            guest_bytes=plan.guest.memory_bytes,
            vcpus=plan.guest.vcpus,
        )
        self._outcome = outcome
        self._knobs = [KNOBS[name] for name in scenario.knobs]
        self._tuner = Tuner(Journal(state_directory()), media())
        self._guest: Tuner | None = None
        self._made: list[tuple[Tuner, Sequence[Change], tuple[KnobChange, ...]]] = []
        self._log = log
        self._watchdog: Watchdog | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:  # the watchdog last: it watches until everything is back
            self._take_back()
            self._report()

    @property
    def acts(self) -> tuple[Act, ...]:
        """Everything that was written by now, on the host and in the guest, in order of time."""
        acts = [*self._tuner.acts, *(self._guest.acts if self._guest is not None else ())]
        return tuple(sorted(acts, key=lambda act: act.begin_ns))

    def host(self) -> None:
        """Leave out what this host has not got, and set what the others want of the host."""
        self._knobs = [knob for knob in self._knobs if self._usable(knob)]
        self._knobs = self._watched(self._knobs)
        for knob in self._knobs:
            self._apply(self._tuner, knob, knob.on_host(self._host))

    def machine(self, machine: Machine, *, direct: bool = True) -> Machine:
        """The virtual machine as the knobs want it.

        Args:
            machine: without knobs.
            direct: see `Host.direct`.
        """
        host = replace(self._host, direct=direct)
        for knob in self._knobs:
            try:
                machine = knob.on_machine(machine, host)
            except MissingCapability as error:
                self._outcome.deviations.append(f"without {knob.name}: {error.message}")
        return machine

    def running(self, machine: QemuMachine) -> None:
        """Set what they want of QEMU's threads, and of the guest."""
        files = GuestFiles(machine.agent)
        self._guest = Tuner(Unwritten(), {files.name: files})
        for knob in self._knobs:
            # New threads inherit from the one that starts them: look again each time.
            target = _target(self._host, machine)
            changes = self._bounded(knob.on_threads(target))
            if why := starves_main_loop(target, changes):
                self._outcome.deviations.append(f"without {knob.name}: {why}")
                continue
            self._apply(self._tuner, knob, changes)
            self._apply(self._guest, knob, files.expand(knob.on_guest()))

    def verify(self) -> None:
        """Read everything that was set once more."""
        try:
            self._outcome.knobs = tuple(
                one for tuner, changes, made in self._made for one in tuner.verify(changes, made)
            )
        except GuestLost:
            return

    def _take_back(self) -> None:
        owned = self._tuner.owned() if self._knobs else ()
        if not owned:
            return
        for undone in self._tuner.revert(owned):
            if undone.how not in _UNDONE:
                text = f"{undone.entry.knob}: {undone.entry.title}: {undone.how.value}"
                self._outcome.deviations.append(f"{text} {undone.reason or undone.found}".strip())

    def _report(self) -> None:
        if self._watchdog is not None:
            self._outcome.deviations.extend(f"watchdog: {one}" for one in self._watchdog.report())
        if self._log is not None and self.acts:
            with self._log.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in _log_lines(self.acts))

    def _usable(self, knob: Knob) -> bool:
        why = knob.missing(self._host)
        if why:
            self._outcome.deviations.append(f"without {knob.name}: {why}")
        return not why

    def _watched(self, knobs: Sequence[Knob]) -> list[Knob]:
        """Start the watchdog if it is needed; without one, real-time knobs are left out."""
        if not any(knob.real_time for knob in knobs):
            return list(knobs)
        directory = state_directory()
        log = self._log or directory / "watchdog.log"
        try:
            dog = Watchdog(directory, log=log, cpus=self._host.other_cpus)
            self._watchdog = self._stack.enter_context(dog)
            why = "" if dog.highest else f"no watchdog can stand above it, {dog.rank}"
        except (CommandFailed, OSError) as error:
            why = f"no watchdog: {error}"
        if not why:
            return list(knobs)
        left_out = [knob.name for knob in knobs if knob.real_time]
        self._outcome.deviations.extend(f"without {name}: {why}" for name in left_out)
        return [knob for knob in knobs if not knob.real_time]

    def _bounded(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        """Real-time priorities not above what the watchdog can take away."""
        if self._watchdog is None:
            return tuple(changes)
        within = capped(changes, self._watchdog.highest)
        if within != tuple(changes):
            text = f"real-time priorities up to {self._watchdog.highest}: the watchdog stands above"
            if text not in self._outcome.conditions:
                self._outcome.conditions.append(text)
        return within

    def _apply(self, tuner: Tuner, knob: Knob, changes: Sequence[Change]) -> None:
        if not changes:
            return
        try:
            made = tuner.apply(knob.name, changes)
        except MissingCapability as error:
            self._outcome.deviations.append(f"without {error.message}; {error.hint}")
            return
        if tuner.refused:
            count, first = len(tuner.refused), tuner.refused[0]
            text = f"{knob.name}: {count} places refused it, such as {first}"
            self._outcome.deviations.append(text)
            tuner.refused.clear()
        self._made.append((tuner, changes, made))
        self._outcome.knobs = (*self._outcome.knobs, *made)


def _log_lines(acts: Iterable[Act]) -> Iterable[str]:
    yield "# begin and end (host CLOCK_MONOTONIC, ns), knob, place, value written"
    for act in acts:
        yield f"{act.begin_ns} {act.end_ns} {act.knob}: {act.title} = {act.value.strip()}"


def _target(host: Host, machine: QemuMachine) -> Target:
    iothreads = machine.iothreads()
    found = target_of(host, machine.child.pid, vcpus=_vcpus(machine), iothreads=iothreads)
    storage = machine.storage
    return found if storage is None else replace(found, storage=threads(storage.child.pid))


def _vcpus(machine: QemuMachine) -> dict[int, int]:
    try:
        return machine.vcpu_threads()
    except CommandFailed:
        return {}
