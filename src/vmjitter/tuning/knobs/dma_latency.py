"""A request to the kernel's power management: no idle CPU takes long to wake up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmjitter.tuning.change import Change
from vmjitter.tuning.knob import Host, Knob

_DEVICE: Final = "/dev/cpu_dma_latency"


@dataclass(frozen=True, kw_only=True)
class DmaLatency(Knob):
    """Held by an open descriptor: the kernel drops it with us."""

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        if not host.tree.exists(_DEVICE):
            return f"{_DEVICE} does not exist: the kernel was built without CONFIG_CPU_IDLE"
        if not host.tree.usable(_DEVICE):
            return f"{_DEVICE} cannot be written to; root can"
        return ""

    def on_host(self, host: Host) -> tuple[Change, ...]:  # noqa: ARG002
        """See `Knob.on_host`."""
        return (Change(medium="held", place=_DEVICE, wanted="0"),)


KNOB: Final = DmaLatency(
    name="pm-qos",
    effect="idle CPUs enter no sleep state that takes time to leave, for as long as it lasts",
    worth="tuned, profile latency-performance (Documentation/power/pm_qos_interface.rst)",
    risk="more heat and power; whoever measures must know that it is on",
    undo="ends with vmjitter, whatever ends it",
)
