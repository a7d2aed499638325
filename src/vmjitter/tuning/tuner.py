"""Making changes so that they can be taken back, whatever happens in between."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from vmjitter.effects.clock import utc_now
from vmjitter.effects.threads import thread
from vmjitter.errors import MissingCapability
from vmjitter.model.run import KnobChange
from vmjitter.tuning.change import Change, Medium
from vmjitter.tuning.journal import Entry, Journal, boot_id
from vmjitter.tuning.media.thread import thread_place, tid_of

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
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Undone:
    """One change and what became of it.

    Attributes:
        found: the value that is there now.
        reason: why it failed.
    """

    entry: Entry
    how: How
    found: str = ""
    reason: str = ""


class Tuner:
    """Makes changes and takes them back.

    Args:
        journal: where they are written down first.
        media: the places that there are, by name.

    Attributes:
        refused: optional changes that the kernel did not take, with its reason.
    """

    def __init__(self, journal: Journal, media: Mapping[str, Medium]) -> None:
        self._journal = journal
        self._media = media
        self.refused: list[str] = []
        me = thread(os.getpid())
        self._owner = thread_place(me) if me is not None else str(os.getpid())

    def apply(self, knob: str, changes: Sequence[Change]) -> tuple[KnobChange, ...]:
        """Make changes in their order, and read each of them back.

        Places that are gone are left out: threads end.

        Raises:
            MissingCapability: the kernel refuses one; those before it are made and in the journal.
        """
        with self._journal.exclusive():
            number = self._fresh()
            made = []
            for place in changes:
                result = self._apply(knob, place, number)
                if result is not None:
                    made.append(result)
                    number += 1
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
        return tuple(entry for entry in self.outstanding() if entry.owner == self._owner)

    def others_at_work(self) -> tuple[Entry, ...]:
        """Outstanding changes of another process that still runs."""
        return tuple(
            entry
            for entry in self.outstanding()
            if entry.owner != self._owner and "@" in entry.owner and tid_of(entry.owner) is not None
        )

    def revert(
        self, entries: Sequence[Entry], told: Callable[[Undone], None] = lambda _: None
    ) -> tuple[Undone, ...]:
        """Take changes back in reverse order.  Safe to repeat.

        What somebody else changed since is left alone.  What fails does not keep the others.

        Args:
            entries: of `outstanding` or `owned`.
            told: called after each.
        """
        done: list[Undone] = []
        with self._journal.exclusive():
            for entry in reversed(entries):
                undone = self._revert(entry)
                if undone.how is not How.FAILED:
                    self._journal.note(entry.number, undone=undone.how.value)
                done.append(undone)
                told(undone)
            if not self.outstanding():
                self._journal.clear()
        return tuple(done)

    def _fresh(self) -> int:
        """The number of the next entry."""
        return max((entry.number for entry in self._journal.entries()), default=0) + 1

    def _apply(self, knob: str, change: Change, number: int) -> KnobChange | None:
        medium = self._media[change.medium]
        before = medium.read(change.place)
        if before is None:
            return None
        title = change.title or change.place
        made = KnobChange(
            knob=knob, target=title, before=before, wanted=change.wanted, read_back=before
        )
        if medium.same(before, change.wanted):
            return replace(made, read_back=change.wanted)
        self._journal.add(
            Entry(
                number=number,
                owner=self._owner,
                boot=boot_id(),
                utc=utc_now().isoformat(timespec="seconds"),
                knob=knob,
                medium=change.medium,
                place=change.place,
                title=title,
                before=before,
                wanted=change.wanted,
            )
        )
        try:
            medium.write(change.place, change.wanted)
        except ProcessLookupError:
            self._journal.note(number, undone=How.GONE.value)
            return None
        except OSError as error:
            self._journal.note(number, undone=How.UNCHANGED.value)
            if change.optional:
                self.refused.append(f"{title}: {error.strerror or error}")
                return None
            raise _refused(knob, title, change.wanted, error) from error
        found = medium.read(change.place) or ""
        self._journal.note(number, found=found)
        same = medium.same(found, change.wanted) if found else False
        return replace(made, read_back=change.wanted if same else found or GONE)

    def _now(self, change: Change) -> str | None:
        medium = self._media[change.medium]
        found = medium.read(change.place)
        if found is not None and medium.same(found, change.wanted):
            return change.wanted
        return found

    def _revert(self, entry: Entry) -> Undone:
        medium = self._media.get(entry.medium)
        if medium is None:
            reason = f"this vmjitter knows no {entry.medium!r}"
            return Undone(entry=entry, how=How.FAILED, reason=reason)
        if entry.boot != boot_id() and not medium.lasting:
            return Undone(entry=entry, how=How.REBOOTED)
        try:
            return self._put_back(entry, medium)
        except ProcessLookupError:
            return Undone(entry=entry, how=How.GONE)
        except OSError as error:
            reason = error.strerror or str(error)
            return Undone(entry=entry, how=How.FAILED, reason=reason)

    @staticmethod
    def _put_back(entry: Entry, medium: Medium) -> Undone:
        now = medium.read(entry.place)
        if now is None:
            return Undone(entry=entry, how=How.GONE)
        if medium.same(now, entry.before):
            return Undone(entry=entry, how=How.UNCHANGED, found=now)
        ours = (entry.wanted, entry.found) if entry.found else (entry.wanted,)
        if not any(medium.same(now, value) for value in ours):
            return Undone(entry=entry, how=How.FOREIGN, found=now)
        medium.write(entry.place, entry.before)
        found = medium.read(entry.place) or ""
        if not medium.same(found, entry.before):
            reason = f"the kernel took {entry.before!r} and made {found!r} of it"
            return Undone(entry=entry, how=How.FAILED, found=found, reason=reason)
        return Undone(entry=entry, how=How.RESTORED, found=found)


def _refused(knob: str, title: str, wanted: str, error: OSError) -> MissingCapability:
    rights = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
    return MissingCapability(
        f"{knob}: {title} = {wanted} was refused: {error.strerror or error}",
        hint="run as root; in a container the setting may belong to the host"
        if rights
        else "this machine or its kernel does not support this value",
    )
