"""Files of the guest's kernel that hold one setting each; set by the agent in the guest."""

from __future__ import annotations

import errno
from typing import Final

from vmjitter.guest.channel import GuestAgent
from vmjitter.tuning.media.file import chosen, same_value

_WRITE: Final = 'printf %s "$1" >"$2"'


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
