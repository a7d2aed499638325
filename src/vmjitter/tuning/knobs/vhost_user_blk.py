"""The disk served by a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from vmjitter.errors import MissingCapability
from vmjitter.model.plan import Disk
from vmjitter.qemu.cmdline import Machine
from vmjitter.qemu.storage_daemon import storage_daemon_program
from vmjitter.tuning.knob import Host, LaunchKnob


@dataclass(frozen=True, kw_only=True)
class VhostUserBlk(LaunchKnob):
    """A knob that needs qemu-storage-daemon."""

    def missing(self, host: Host) -> str:  # noqa: ARG002
        """See `Knob.missing`."""
        try:
            storage_daemon_program()
        except MissingCapability as error:
            return f"{error.message}: {error.hint}"
        return ""


def _shape(machine: Machine) -> Machine:
    if machine.disk is not Disk.VIRTIO:
        raise MissingCapability(
            "only a virtio disk can be served by another process; put virtio-disk before it"
        )
    if machine.iothread:
        raise MissingCapability(
            "the disk has a thread of QEMU's own already: leave out iothread or this knob"
        )
    return replace(machine, vhost_user_blk=True)


KNOB: Final = VhostUserBlk(
    name="vhost-user-blk",
    effect="a process of its own, qemu-storage-daemon, serves the guest's disk by vhost-user, and "
    "not QEMU",
    shape=_shape,
    worth="requests neither wait for QEMU's lock nor run in its threads; emulator-pin and "
    "iothread-fifo take the process along (qemu-storage-daemon(1))",
    risk="the guest's memory becomes shared memory, for which transparent huge pages are usually "
    "off (/sys/kernel/mm/transparent_hugepage/shmem_enabled); if the process ends, the guest's "
    "disk stands still",
)
