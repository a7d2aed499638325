"""The real clock: QEMU's own emulation of processors with AMD's SVM, one thread per CPU.

Fast and functional: the host kernel, KVM, vhost-net and the guest take every path that they take on
a real machine.  Times mean nothing, because each emulated CPU is as fast as its thread just is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vmjitter.model.sim import SimSpec
from vmjitter.sim.bochs import Media


def svm_argv(
    program: str,
    spec: SimSpec,
    media: Media,
    *,
    kernel: Path,
    initramfs: Path,
    append: Sequence[str],
) -> list[str]:
    """QEMU's command line for a simulated host.  Pure.

    The disks stand where Bochs has them: the second to the fourth place of two IDE channels.
    """
    disks = ((media.system, 1, "snapshot=on"), (media.job, 2, "cache=writethrough"))
    drives = [*disks, (media.result, 3, "cache=writethrough")]
    return [
        program,
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "pc,usb=off", "-accel", "tcg,thread=multi"),
        *("-cpu", "max,+svm", "-smp", str(spec.cpus), "-m", f"{spec.memory_bytes >> 20}M"),
        *("-kernel", str(kernel), "-initrd", str(initramfs), "-append", " ".join(append)),
        *(
            part
            for path, index, extra in drives
            for part in ("-drive", f"file={path},format=raw,if=ide,index={index},{extra}")
        ),
        *("-chardev", _chardev(media.console), "-serial", "chardev:console"),
    ]


def _chardev(console: Path) -> str:
    if console.is_relative_to("/dev"):
        return f"serial,id=console,path={console}"
    return f"file,id=console,path={console}"
