"""The network is served by the kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from vmjitter.effects.systree import SysTree
from vmjitter.model.plan import Network, Scenario
from vmjitter.tuning.knob import DeviceKnob, Host, device_missing

_NEEDED: Final = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""For a tap device, and for a network namespace of its own; numbers of linux/capability.h."""


@dataclass(frozen=True, kw_only=True)
class VhostNet(DeviceKnob):
    """Needs vhost's device, and a tap device to serve."""

    def missing(self, host: Host) -> str:
        """See `Knob.missing`."""
        return (
            device_missing(host.tree, "/dev/vhost-net", "vhost_net")
            or device_missing(host.tree, "/dev/net/tun", "tun")
            or _no_rights(host.tree)
        )


def _no_rights(tree: SysTree) -> str:
    """Which right this process lacks for a tap device (CapEff in proc(5), capabilities(7))."""
    for line in (tree.read("/proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            mask = int(value, 16)
            lacking = [right for right, bit in _NEEDED.items() if not mask >> bit & 1]
            return f"a tap device takes {' and '.join(lacking)}; root has it" if lacking else ""
    return ""


def _devices(scenario: Scenario) -> Scenario:
    return replace(scenario, network=Network.VIRTIO, vhost=True)


KNOB: Final = VhostNet(
    name="vhost-net",
    effect="packets are moved by the kernel, not by QEMU; the network becomes a virtio device",
    devices=_devices,
    worth="one of the paper's mitigations; see also microvm.nix issue 463",
)
