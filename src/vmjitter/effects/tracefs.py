"""The kernel's tracing files, and rings of our own among them.

Where tracefs is not mounted it is mounted for us alone, without a place in any directory: such a
mount ends with its descriptor (fsopen(2), fsmount(2); Linux 5.2).  A ring is an *instance*
(Documentation/trace/ftrace.rst, "Instances"): other people's tracing does not notice it.  An
instance outlives its maker, so each has a reaper that removes it when we are gone, and
`forget_stale` removes what a reaper could not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from vmjitter.errors import MissingCapability

TRACEFS_PLACES: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
DEBUGFS_PLACES: Final = (Path("/sys/kernel/debug"),)

_PREFIX: Final = "vmjitter-"
_AFTER_NAME_STATE_TO_START: Final = 19
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
"""Numbers of the system calls, the same on every architecture (they came after 2019)."""
_CLOEXEC: Final = 1
_CREATE: Final = 6
# A reader of ours may still have the ring open, so the directory is busy for a moment.
_REAPER: Final = (
    'trap "" INT TERM HUP; read -r _; for _ in 1 2 3 4 5 6 7 8 9 10; do '
    '[ -d "$1" ] || exit 0; echo 0 >"$1/tracing_on"; rmdir "$1" && exit 0; sleep 0.2; done'
)


@dataclass(frozen=True, kw_only=True)
class KernelTree:
    """A mounted file system of the kernel.

    Attributes:
        root: path to it, valid in this process and in children that inherit ``fd``.
        fd: descriptor of the mount, or -1 if it is mounted in the ordinary way.
    """

    root: Path
    fd: int = -1

    @property
    def inherit(self) -> tuple[int, ...]:
        """Descriptors that a child needs to use ``root``."""
        return (self.fd,) if self.fd >= 0 else ()


@contextmanager
def kernel_tree(kind: str, places: Iterable[Path], witness: str) -> Iterator[KernelTree]:
    """A file system of the kernel: where it is mounted, or mounted for us alone.

    Args:
        kind: "tracefs" or "debugfs".
        places: where it usually is.
        witness: a file or directory that is in it.

    Raises:
        MissingCapability: it is not mounted and we may not mount it, or we may not read it.
    """
    for place in places:
        found = place / witness
        try:
            present = found.exists()
        except OSError:
            present = False
        if present and os.access(found, os.R_OK):
            yield KernelTree(root=place)
            return
    try:
        fd = _detached_mount(kind)
    except OSError as error:
        raise MissingCapability(
            f"{kind} cannot be used: {error.strerror}",
            hint=f"run as root, or let this user read {kind}: mount -o remount,gid=... {kind}",
        ) from error
    try:
        yield KernelTree(root=Path(f"/proc/self/fd/{fd}"), fd=fd)
    finally:
        os.close(fd)


def _detached_mount(kind: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    context = _checked(libc.syscall(_FSOPEN, kind.encode(), _CLOEXEC))
    try:
        _checked(libc.syscall(_FSCONFIG, context, _CREATE, None, None, 0))
        return _checked(libc.syscall(_FSMOUNT, context, _CLOEXEC, 0))
    finally:
        os.close(context)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def available_events(tree: KernelTree) -> frozenset[str]:
    """Names of the events that this kernel has, as "system:event".

    Raises:
        OSError: they cannot be read.
    """
    return frozenset((tree.root / "available_events").read_text().split())


class Ring:
    """Ring buffers of our own, one per CPU, switched off at first; use as a context manager.

    Args:
        tree: of tracefs.
        label: makes the name unique among ours.

    Raises:
        MissingCapability: the kernel lets us have none.
    """

    def __init__(self, tree: KernelTree, label: str) -> None:
        self.name = f"{_PREFIX}{os.getpid()}-{_started('self')}-{label}"
        self.path = tree.root / "instances" / self.name
        self._inherit = tree.inherit
        self._stack = ExitStack()
        try:
            self.path.mkdir()
        except OSError as error:
            raise MissingCapability(
                f"no trace instance of our own: {error.strerror}",
                hint="run as root; the kernel needs CONFIG_TRACING",
            ) from error
        self._stack.callback(self._remove)
        try:
            self._stack.enter_context(_reaper(self.path, self._inherit))
            self._write("tracing_on", "0")
            self._switch = os.open(self.path / "tracing_on", os.O_WRONLY | os.O_CLOEXEC)
            self._stack.callback(os.close, self._switch)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def configure(self, *, clock: str, bytes_per_cpu: int) -> None:
        """Set clock and size.

        Raises:
            MissingCapability: no such clock, or no memory for so large a ring.
        """
        try:
            self._write("trace_clock", clock)
            self._write("buffer_size_kb", str(max(4, bytes_per_cpu >> 10)))
        except OSError as error:
            raise MissingCapability(
                f"a trace ring of {bytes_per_cpu >> 20} MiB per CPU on the clock {clock}: "
                f"{error.strerror}",
                hint="take a smaller one: --set trace.buffer=1M",
            ) from error

    def enable(self, events: Iterable[str]) -> list[str]:
        """Choose what is recorded; returns the events that the kernel refused.

        An event that several rings have chosen costs more, also in a ring that is off: the kernel
        then calls its handlers through a list.
        """
        return [event for event in events if not self._set(event, "1")]

    def disable(self, event: str = "") -> None:
        """Choose one event no more, or none at all."""
        self._set(event, "0")

    def _set(self, event: str, value: str) -> bool:
        place = "/".join(("events", *filter(None, event.split(":")), "enable"))
        try:
            self._write(place, value)
        except OSError:
            return False
        return True

    def on(self) -> None:
        """Record from now on; one system call."""
        os.pwrite(self._switch, b"1", 0)

    def off(self) -> None:
        """Stop recording; what is in the ring stays."""
        os.pwrite(self._switch, b"0", 0)

    def clear(self) -> None:
        """Empty the ring (it is emptied by opening its text for writing)."""
        self._write("trace", "\n")

    @property
    def text(self) -> Path:
        """What is in the ring as text, all CPUs in order of time; reading takes nothing out."""
        return self.path / "trace"

    @property
    def inherit(self) -> tuple[int, ...]:
        """Descriptors that a child needs to read `text`."""
        return self._inherit

    def stats(self) -> list[dict[str, str]]:
        """For each CPU the kernel's account of its ring, as text by name."""
        found = []
        for cpu in sorted(self.path.glob("per_cpu/cpu*"), key=lambda path: int(path.name[3:])):
            lines = (cpu / "stats").read_text().splitlines()
            pairs = (line.partition(":")[::2] for line in lines)
            found.append({"cpu": cpu.name[3:], **{key.strip(): v.strip() for key, v in pairs}})
        return found

    def close(self) -> None:
        """Stop and remove it.  Safe to call twice."""
        self._stack.close()

    def _write(self, name: str, text: str) -> None:
        handle = os.open(self.path / name, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            self.path.rmdir()


@contextmanager
def _reaper(path: Path, inherit: tuple[int, ...]) -> Iterator[None]:
    reaper = subprocess.Popen(
        ["/bin/sh", "-c", _REAPER, "vmjitter-reaper", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=inherit,
    )
    try:
        yield
    finally:
        if reaper.stdin is not None:
            reaper.stdin.close()
        reaper.wait()


def forget_stale(tree: KernelTree) -> tuple[str, ...]:
    """Remove rings whose makers are dead; returns their names.

    A name carries the maker's process id and start time, so that an id that is used again does not
    keep a ring alive.
    """
    removed = []
    with suppress(OSError):
        for path in sorted((tree.root / "instances").iterdir()):
            if path.name.startswith(_PREFIX) and not _maker_lives(path.name):
                with suppress(OSError):
                    path.rmdir()
                    removed.append(path.name)
    return tuple(removed)


def _maker_lives(name: str) -> bool:
    pid, _, rest = name.removeprefix(_PREFIX).partition("-")
    return _started(pid) == rest.partition("-")[0]


def _started(pid: str) -> str:
    """Clock ticks from boot to the start of a process (proc_pid_stat(5), field 22); "" if none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ESRCH}:
            return ""
        raise
    return text.rpartition(")")[2].split()[_AFTER_NAME_STATE_TO_START]
