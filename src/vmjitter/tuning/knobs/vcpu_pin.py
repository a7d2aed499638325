"""Each virtual CPU on a CPU of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vmjitter.effects.threads import Thread, cpu_list
from vmjitter.tuning.knob import Host, Target, ThreadKnob


@dataclass(frozen=True, kw_only=True)
class VcpuPin(ThreadKnob):
    """One to one: two virtual CPUs on one CPU would wait for each other."""

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        why = super().missing(host)
        if not why and host.vcpus > len(host.guest_cpus):
            return (
                f"the guest has {host.vcpus} virtual CPUs, and only CPU "
                f"{cpu_list(host.guest_cpus)} for them: give it one for each, with guest.host_cpus "
                "or --cpus, or fewer virtual ones, with guest.vcpus"
            )
        return why


def _choose(target: Target) -> Iterable[tuple[Thread, str]]:
    cpus = sorted(target.host.guest_cpus)
    return [(vcpu, str(cpu)) for vcpu, cpu in zip(target.vcpus, cpus, strict=False)]


KNOB: Final = VcpuPin(
    name="vcpu-pin",
    effect="each virtual CPU stays on one of the guest's CPUs",
    medium="cpus",
    choose=_choose,
    worth="the base of the libvirt, RHEL and SEAPATH recipes",
)
