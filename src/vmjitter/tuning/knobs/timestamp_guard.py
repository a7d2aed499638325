"""A socket that keeps the kernel's time stamps of packets switched on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmjitter.tuning.change import Change
from vmjitter.tuning.knob import Host, Knob
from vmjitter.tuning.media.held import SOFTWARE_STAMPS, STAMPS


@dataclass(frozen=True, kw_only=True)
class TimestampGuard(Knob):
    """Held by an open descriptor: the kernel drops it with us."""

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        if not host.tree.exists("/proc/net/udp"):
            return "/proc/net/udp does not exist: the kernel was built without CONFIG_INET"
        return ""

    def on_host(self, host: Host) -> tuple[Change, ...]:  # noqa: ARG002
        """See `Knob.on_host`."""
        return (Change(medium="held", place=STAMPS, wanted=SOFTWARE_STAMPS),)


KNOB: Final = TimestampGuard(
    name="timestamp-guard",
    effect="a socket with time stamps stays open, so that no other one switches them on or off",
    worth="switching rewrites the kernel's code and interrupts every CPU; from Linux 6.10 on it is "
    "always on where CPUs are isolated by nohz_full (commit 'net: enable timestamp static key if "
    "CPU isolation is configured'); tuned's plug-in rtentsk",
    risk="each packet that the host receives is stamped",
    undo="ends with vmjitter, whatever ends it",
)
