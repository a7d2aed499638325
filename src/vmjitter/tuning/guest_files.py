"""Files of the guest's kernel that hold one setting each; set by the agent in the guest."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from vmjitter.guest.channel import GuestAgent
from vmjitter.tuning.change import Change
from vmjitter.tuning.media.file import chosen, same_value

_WRITE: Final = 'printf %s "$1" >"$2"'
_MATCH: Final = 'for one in $1; do [ ! -e "$one" ] || printf "%s\\n" "$one"; done'


class GuestFiles:
    """A medium, see `vmjitter.tuning.change.Medium`; a place is a path in the guest."""

    name = "guest-file"
    lasting = False

    def __init__(self, agent: GuestAgent) -> None:
        self._agent = agent

    def read(self, place: str) -> str | None:
        """See `Medium.read`."""
        reply = self._agent.call("run", "cat", place)
        return chosen(reply.text.strip()) if reply.status == 0 else None

    def write(self, place: str, value: str) -> None:
        """See `Medium.write`."""
        reply = self._agent.call("run", "sh", "-c", _WRITE, "sh", value, place)
        if reply.status != 0:
            raise OSError(errno.EINVAL, reply.text.strip() or "the guest refuses")

    def same(self, one: str, other: str) -> bool:
        """See `Medium.same`."""
        return same_value(one, other)

    def expand(self, changes: Iterable[Change]) -> tuple[Change, ...]:
        """Changes with a star in their place, one for each file that there is in the guest."""
        return tuple(
            replace(change, place=place)
            for change in changes
            for place in (self._match(change.place) if "*" in change.place else [change.place])
        )

    def _match(self, pattern: str) -> list[str]:
        return self._agent.call("run", "sh", "-c", _MATCH, "sh", pattern).text.splitlines()
