"""The knobs of one trial: applied in their order, read back, verified at the end, taken back."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from vmjitter.effects.process import split_cpus
from vmjitter.effects.threads import kernel_threads, threads
from vmjitter.errors import CommandFailed, GuestLost, MissingCapability
from vmjitter.model.plan import Accel, Plan, Scenario
from vmjitter.model.run import KnobChange
from vmjitter.qemu.cmdline import Machine
from vmjitter.qemu.machine import QemuMachine
from vmjitter.session.outcome import Outcome
from vmjitter.tuning.change import Change
from vmjitter.tuning.guest_files import GuestFiles
from vmjitter.tuning.journal import Journal, Unwritten, state_directory
from vmjitter.tuning.knob import Host, Knob, Target
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.media import media
from vmjitter.tuning.tuner import How, Tuner

_UNDONE: Final = (How.RESTORED, How.UNCHANGED, How.GONE)


class Tuning:
    """Use as a context: everything that was changed on the host is taken back at its end.

    A knob that cannot be used here is a deviation of the trial, with the reason; it does not keep
    the others from being used.
    """

    def __init__(self, plan: Plan, scenario: Scenario, accel: Accel, outcome: Outcome) -> None:
        guest_cpus, other_cpus = split_cpus(plan.guest.host_cpus)
        self._host = Host(
            guest_cpus=guest_cpus,
            other_cpus=other_cpus,
            accel=accel,
            guest_bytes=plan.guest.memory_bytes,
        )
        self._outcome = outcome
        self._knobs = [KNOBS[name] for name in scenario.knobs]
        self._tuner = Tuner(Journal(state_directory()), media())
        self._made: list[tuple[Tuner, Sequence[Change], tuple[KnobChange, ...]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._made:
            return
        for undone in self._tuner.revert(self._tuner.owned()):
            if undone.how not in _UNDONE:
                text = f"{undone.entry.knob}: {undone.entry.title}: {undone.how.value}"
                self._outcome.deviations.append(f"{text} {undone.reason or undone.found}".strip())

    def host(self) -> None:
        """Leave out what this host has not got, and set what the others want of the host."""
        self._knobs = [knob for knob in self._knobs if self._usable(knob)]
        for knob in self._knobs:
            self._apply(self._tuner, knob, knob.on_host(self._host))

    def machine(self, machine: Machine) -> Machine:
        """The virtual machine as the knobs want it."""
        for knob in self._knobs:
            try:
                machine = knob.on_machine(machine, self._host)
            except MissingCapability as error:
                self._outcome.deviations.append(f"without {knob.name}: {error.message}")
        return machine

    def running(self, machine: QemuMachine) -> None:
        """Set what they want of QEMU's threads, and of the guest."""
        guest = Tuner(Unwritten(), {GuestFiles.name: GuestFiles(machine.agent)})
        for knob in self._knobs:
            # New threads inherit from the one that starts them: look again each time.
            target = _target(self._host, machine)
            self._apply(self._tuner, knob, knob.on_threads(target))
            self._apply(guest, knob, knob.on_guest())

    def verify(self) -> None:
        """Read everything that was set once more."""
        try:
            self._outcome.knobs = tuple(
                one for tuner, changes, made in self._made for one in tuner.verify(changes, made)
            )
        except GuestLost:
            return

    def _usable(self, knob: Knob) -> bool:
        why = knob.missing(self._host)
        if why:
            self._outcome.deviations.append(f"without {knob.name}: {why}")
        return not why

    def _apply(self, tuner: Tuner, knob: Knob, changes: Sequence[Change]) -> None:
        if not changes:
            return
        try:
            made = tuner.apply(knob.name, changes)
        except MissingCapability as error:
            self._outcome.deviations.append(f"without {error.message}; {error.hint}")
            made = ()
        if tuner.refused:
            count, first = len(tuner.refused), tuner.refused[0]
            text = f"{knob.name}: {count} places refused it, such as {first}"
            self._outcome.deviations.append(text)
            tuner.refused.clear()
        self._made.append((tuner, changes, made))
        self._outcome.knobs = (*self._outcome.knobs, *made)


def _target(host: Host, machine: QemuMachine) -> Target:
    pid = machine.child.pid
    every = threads(pid)
    by_id = {one.tid: one for one in every}
    return Target(
        host=host,
        pid=pid,
        threads=every,
        vcpus=tuple(by_id[tid] for _, tid in sorted(_vcpus(machine).items()) if tid in by_id),
        iothreads=tuple(by_id[tid] for tid in machine.iothreads() if tid in by_id),
        kernel_threads=tuple(
            one for one in kernel_threads() if one.name in {f"vhost-{pid}", f"kvm-pit/{pid}"}
        ),
    )


def _vcpus(machine: QemuMachine) -> dict[int, int]:
    try:
        return machine.vcpu_threads()
    except CommandFailed:
        return {}
