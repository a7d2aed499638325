"""Making changes so that they can be taken back, whatever happens in between."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from vmjitter.effects.clock import now_ns, utc_now
from vmjitter.effects.threads import thread
from vmjitter.errors import MissingCapability
from vmjitter.model.run import KnobChange
from vmjitter.tuning.change import Change, Medium
from vmjitter.tuning.journal import Entry, Journal, boot_id
from vmjitter.tuning.media.thread import still_runs, thread_place

GONE: Final = "gone"


class How(StrEnum):
    """What became of a change when it was to be taken back."""

    RESTORED = "restored"
    UNCHANGED = "unchanged"
    """The value of before was there already."""
    FOREIGN = "left alone: changed by somebody else since"
    GONE = "gone"
    """The place does not exist any more, such as a thread that has ended."""
    REBOOTED = "gone with the restart"
    HANDED_ON = "left to a later change of the same place, which knows what was there before"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Undone:
    """One change and what became of it.

    Attributes:
        found: the value that is there now.
        reason: why it failed.
        heir: number of the change that it was handed on to.
    """

    entry: Entry
    how: How
    found: str = ""
    reason: str = ""
    heir: int | None = None


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that a tuner did to a place, with its time by CLOCK_MONOTONIC.

    Attributes:
        value: what was written.
    """

    begin_ns: int
    end_ns: int
    knob: str
    title: str
    value: str


class Tuner:
    """Makes changes and takes them back.

    Args:
        journal: where they are written down first.
        media: the places that there are, by name.

    Attributes:
        refused: optional changes that the kernel did not take, with its reason.
        acts: everything that was written, in its order.
    """

    def __init__(self, journal: Journal, media: Mapping[str, Medium]) -> None:
        self._journal = journal
        self._media = media
        self.refused: list[str] = []
        self.acts: list[Act] = []
        self.owner = owner_of(os.getpid())

    def apply(self, knob: str, changes: Sequence[Change]) -> tuple[KnobChange, ...]:
        """Make changes in their order, and read each of them back.

        Places that are gone are left out: threads end.

        Raises:
            MissingCapability: the kernel refuses one; those before it are taken back.
        """
        with self._journal.exclusive():
            first = number = self._fresh()
            made = []
            try:
                for place in changes:
                    result = self._apply(knob, place, number)
                    if result is not None:
                        made.append(result)
                        number += 1
            except MissingCapability:
                self._revert_all([one for one in self.owned() if one.number >= first])
                raise
        return tuple(made)

    def verify(
        self, changes: Sequence[Change], made: Sequence[KnobChange]
    ) -> tuple[KnobChange, ...]:
        """What was made, with ``after`` filled in from what is set now."""
        places = {change.title or change.place: change for change in changes}
        return tuple(
            replace(one, after=self._now(places[one.target]) or "") if one.target in places else one
            for one in made
        )

    def outstanding(self) -> tuple[Entry, ...]:
        """Changes that were not taken back, in the order in which they were made."""
        return tuple(entry for entry in self._journal.entries() if not entry.undone)

    def owned(self) -> tuple[Entry, ...]:
        """Those of them that this process made."""
        return tuple(entry for entry in self.outstanding() if entry.owner == self.owner)

    def others_at_work(self) -> tuple[Entry, ...]:
        """Outstanding changes of another process that still runs."""
        boot = boot_id()
        return tuple(
            entry
            for entry in self.outstanding()
            if entry.owner != self.owner and entry.boot == boot and still_runs(entry.owner)
        )

    def revert(
        self, entries: Sequence[Entry], told: Callable[[Undone], None] = lambda _: None
    ) -> tuple[Undone, ...]:
        """Take changes back in reverse order.  Safe to repeat.

        What somebody else changed since is left alone.  What fails does not keep the others.

        Args:
            entries: of `outstanding` or `owned`; what another process has taken back meanwhile is
                passed over.
            told: called after each.

        Raises:
            MissingCapability: the journal cannot be written to; everything was put back all the
                same.
        """
        with self._journal.exclusive():
            now = {(entry.number, entry.utc, entry.place) for entry in self.outstanding()}
            still = [one for one in entries if (one.number, one.utc, one.place) in now]
            return self._revert_all(still, told)

    def look(self, entries: Sequence[Entry]) -> tuple[Undone, ...]:
        """What `revert` would do; changes nothing."""
        put_back: dict[tuple[str, str], str] = {}
        still = {entry.number: entry for entry in self.outstanding()}
        seen = []
        for entry in reversed(entries):
            key = (entry.medium, entry.place)
            seen.append(self._outcome(entry, tuple(still.values()), put_back.get(key)))
            if seen[-1].how is How.RESTORED:
                put_back[key] = entry.before
            _settle(still, seen[-1])
        return tuple(seen)

    def _revert_all(
        self, entries: Sequence[Entry], told: Callable[[Undone], None] = lambda _: None
    ) -> tuple[Undone, ...]:
        done: list[Undone] = []
        trouble: MissingCapability | None = None
        still = {entry.number: entry for entry in self.outstanding()}
        for entry in reversed(entries):
            undone = self._revert(entry, tuple(still.values()))
            try:
                self._note(undone)
            except MissingCapability as error:
                trouble = error
            _settle(still, undone)
            done.append(undone)
            told(undone)
        if trouble is not None:
            raise trouble
        if done and not still:
            self._journal.clear()
        return tuple(done)

    def _note(self, undone: Undone) -> None:
        if undone.how is How.HANDED_ON and undone.heir is not None:
            # first the heir: if we are killed in between, both know the value of before
            self._journal.note(undone.heir, before=undone.entry.before)
        if undone.how is not How.FAILED:
            self._journal.note(undone.entry.number, undone=undone.how.value)

    def _fresh(self) -> int:
        """The number of the next entry."""
        return max((entry.number for entry in self._journal.entries()), default=0) + 1

    def _apply(self, knob: str, change: Change, number: int) -> KnobChange | None:
        medium = self._media[change.medium]
        title = change.title or change.place
        try:
            before = medium.read(change.place)
        except OSError as error:
            self._refuse(knob, change, error)
            return None
        if before is None:
            return None
        made = KnobChange(
            knob=knob, target=title, before=before, wanted=change.wanted, read_back=before
        )
        if medium.same(before, change.wanted):
            return replace(made, read_back=change.wanted)
        begin_ns = now_ns()
        self._journal.add(self._entry(number, knob, change, before, begin_ns))
        try:
            self._write(knob, change, begin_ns)
        except ProcessLookupError:
            self._journal.note(number, undone=How.GONE.value)
            return None
        except OSError as error:
            self._journal.note(number, undone=How.UNCHANGED.value)
            self._refuse(knob, change, error)
            return None
        found = medium.read(change.place) or ""
        self._journal.note(number, found=found)
        same = medium.same(found, change.wanted) if found else False
        return replace(made, read_back=change.wanted if same else found or GONE)

    def _entry(self, number: int, knob: str, change: Change, before: str, at_ns: int) -> Entry:
        return Entry(
            number=number,
            owner=self.owner,
            boot=boot_id(),
            utc=utc_now().isoformat(timespec="milliseconds"),
            made_ns=at_ns,
            knob=knob,
            medium=change.medium,
            place=change.place,
            title=change.title or change.place,
            before=before,
            wanted=change.wanted,
        )

    def _write(self, knob: str, change: Change, begin_ns: int) -> None:
        self._media[change.medium].write(change.place, change.wanted)
        title = change.title or change.place
        act = Act(begin_ns=begin_ns, end_ns=now_ns(), knob=knob, title=title, value=change.wanted)
        self.acts.append(act)

    def _refuse(self, knob: str, change: Change, error: OSError) -> None:
        title = change.title or change.place
        if not change.optional:
            raise _refused(knob, title, change.wanted, error) from error
        self.refused.append(f"{title}: {error.strerror or error}")

    def _now(self, change: Change) -> str | None:
        medium = self._media[change.medium]
        found = medium.read(change.place)
        if found is not None and medium.same(found, change.wanted):
            return change.wanted
        return found

    def _revert(self, entry: Entry, still: Sequence[Entry]) -> Undone:
        begin_ns = now_ns()
        plan = self._outcome(entry, still)
        if plan.how is not How.RESTORED:
            return plan
        medium = self._media[entry.medium]
        try:
            medium.write(entry.place, entry.before)
            found = medium.read(entry.place) or ""
        except ProcessLookupError:
            return Undone(entry=entry, how=How.GONE)
        except OSError as error:
            reason = error.strerror or str(error)
            return Undone(entry=entry, how=How.FAILED, reason=reason)
        act = Act(
            begin_ns=begin_ns,
            end_ns=now_ns(),
            knob=entry.knob,
            title=entry.title,
            value=entry.before,
        )
        self.acts.append(act)
        if not medium.same(found, entry.before):
            reason = f"the kernel took {entry.before!r} and made {found!r} of it"
            return Undone(entry=entry, how=How.FAILED, found=found, reason=reason)
        return replace(plan, found=found)

    def _outcome(self, entry: Entry, still: Sequence[Entry], now: str | None = None) -> Undone:
        """What becomes of a change; `How.RESTORED` means that it is to be written back.

        Args:
            entry: the change.
            still: all that is outstanding at this moment, other processes' changes included.
            now: the value that is there; None to look.
        """
        medium = self._media.get(entry.medium)
        if medium is None:
            reason = f"this vmjitter knows no {entry.medium!r}"
            return Undone(entry=entry, how=How.FAILED, reason=reason)
        if entry.boot != boot_id() and not medium.lasting:
            return Undone(entry=entry, how=How.REBOOTED)
        try:
            now = medium.read(entry.place) if now is None else now
        except OSError as error:
            reason = error.strerror or str(error)
            return Undone(entry=entry, how=How.FAILED, reason=reason)
        return _compare(entry, medium, now, still)


def _settle(still: dict[int, Entry], undone: Undone) -> None:
    """Note in what is outstanding that a change is no more."""
    if undone.heir is not None:
        still[undone.heir] = replace(still[undone.heir], before=undone.entry.before)
    if undone.how is not How.FAILED:
        still.pop(undone.entry.number, None)


def _compare(entry: Entry, medium: Medium, now: str | None, still: Sequence[Entry]) -> Undone:
    if now is None:
        return Undone(entry=entry, how=How.GONE)
    ours = (entry.wanted, entry.found) if entry.found else (entry.wanted,)
    for later in still:
        if (later.medium, later.place) == (entry.medium, entry.place):
            chained = any(medium.same(later.before, value) for value in ours)
            if later.number > entry.number and chained:
                return Undone(entry=entry, how=How.HANDED_ON, found=now, heir=later.number)
    if medium.same(now, entry.before):
        return Undone(entry=entry, how=How.UNCHANGED, found=now)
    if any(medium.same(now, value) for value in ours):
        return Undone(entry=entry, how=How.RESTORED, found=now)
    return Undone(entry=entry, how=How.FOREIGN, found=now)


def owner_of(pid: int) -> str:
    """How the journal names a process: its id and its start."""
    me = thread(pid)
    return thread_place(me) if me is not None else str(pid)


def _refused(knob: str, title: str, wanted: str, error: OSError) -> MissingCapability:
    rights = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
    hint = "this machine or its kernel does not support this value"
    if rights and wanted.startswith(("fifo ", "rr ")):
        hint = "run as root; in a control group without real-time budget use rt-group-budget first"
    elif rights:
        hint = "run as root; in a container the setting may belong to the host"
    return MissingCapability(
        f"{knob}: {title} = {wanted.strip()} was refused: {error.strerror or error}", hint=hint
    )
