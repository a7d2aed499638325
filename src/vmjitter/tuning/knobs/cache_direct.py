"""The disk image without the host's page cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from vmjitter.errors import MissingCapability
from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.knob import Host, Knob, Needs


@dataclass(frozen=True, kw_only=True)
class CacheDirect(Knob):
    """It says so where it cannot be, unlike the default."""

    def on_machine(self, machine: Machine, host: Host) -> Machine:
        """See `Knob.on_machine`.

        Raises:
            MissingCapability: the image's file system has no O_DIRECT.
        """
        if not host.direct:
            raise MissingCapability(
                "the file system of the disk image has no O_DIRECT: "
                "name a directory on another one with disk.dir"
            )
        return replace(machine, cache="none")


KNOB: Final = CacheDirect(
    name="cache-direct",
    effect="the disk image bypasses the host's page cache (cache=none); that is vmjitter's default "
    "wherever the image's file system can, so it only takes back cache-writeback",
    needs=Needs.QEMU,
    worth="the host writes nothing back behind the guest's requests (RHEL, real-time guests; "
    "qemu(1), -blockdev)",
    undo="ends with QEMU",
)
