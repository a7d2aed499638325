"""What KVM's debugfs says of a guest's TSC: the exact way from the host's to the guest's.

``guest_tsc = ((host_tsc * ratio) >> frac_bits) + offset`` (arch/x86/kvm/debugfs.c in the kernel).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from vmjitter.effects.tracefs import DEBUGFS_PLACES, kernel_tree
from vmjitter.errors import MissingCapability

_FILES: Final = ("tsc-offset", "tsc-scaling-ratio", "tsc-scaling-ratio-frac-bits")


def kvm_tsc(qemu_pid: int) -> tuple[dict[str, dict[str, str]], str]:
    """The files by vCPU (``vcpu0``) and name, and why there are none, if so."""
    found: dict[str, dict[str, str]] = {}
    try:
        with kernel_tree("debugfs", DEBUGFS_PLACES, "kvm") as tree:
            for vcpu in sorted((tree.root / "kvm").glob(f"{qemu_pid}-*/vcpu*")):
                values = {}
                for name in _FILES:
                    with suppress(OSError):
                        values[name] = (vcpu / name).read_text().strip()
                found[vcpu.name] = values
    except (MissingCapability, OSError) as error:
        return {}, f"no tsc-offset of KVM: {error}"
    known = {name: values for name, values in found.items() if values}
    return known, "" if known else "no tsc-offset of KVM in debugfs"
