"""What can be known of a running kernel, of the host or of a guest, from its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from vmjitter.effects.threads import cpu_set

Version = tuple[int, int, int]


_SERIAL: Final = re.compile(r"console=tty[A-Z]")  # ttyS0, ttyAMA0; tty0 is a screen


def is_serial(word: str) -> bool:
    """Whether a word of a kernel's command line sends its messages to a serial port."""
    return _SERIAL.match(word) is not None


@dataclass(frozen=True, kw_only=True)
class KernelView:
    """A kernel, seen through its files.

    Attributes:
        reader: the stripped text of a file, or None if it cannot be read.
        config: the options that the kernel was built with, "y", "m" or a value; those that are
            not set are absent.  Empty if the configuration is not known.
    """

    reader: Callable[[str], str | None]
    config: Mapping[str, str] = field(default_factory=dict)

    def read(self, path: str) -> str | None:
        """The text of a file, or None."""
        return self.reader(path)

    def number(self, path: str) -> int | None:
        """The number in a file, or None."""
        text = self.read(path)
        try:
            return int(text) if text is not None else None
        except ValueError:
            return None

    def show(self, path: str) -> str:
        """A file as evidence: "path = value"."""
        value = self.read(path)
        return f"{path} does not exist" if value is None else f"{path} = {value or '(empty)'}"

    @cached_property
    def release(self) -> str:
        """As ``uname -r``."""
        return self.read("/proc/sys/kernel/osrelease") or ""

    @cached_property
    def build(self) -> str:
        """As ``uname -v``."""
        return self.read("/proc/sys/kernel/version") or ""

    @cached_property
    def version(self) -> Version | None:
        """The release of kernel.org that it is made from, as numbers; None if there are none.

        Debian and Ubuntu keep the third number of ``uname -r`` at 0 and say the true one elsewhere:
        ``uname -v`` ends in "Debian 6.1.170-3 (DATE)", /proc/version_signature in "5.15.131".
        """
        places = (
            re.search(r"Debian (\d+)\.(\d+)\.(\d+)", self.build),
            re.search(r"(\d+)\.(\d+)\.(\d+)$", self.read("/proc/version_signature") or ""),
            re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", self.release),
        )
        found = next((place for place in places if place is not None), None)
        return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None

    @property
    def shown_release(self) -> str:
        """Release, and what it is made from if that differs, as evidence."""
        text = self.show("/proc/sys/kernel/osrelease")
        made_from = ".".join(map(str, self.version or ()))
        return text if self.release.startswith(made_from) else f"{text}, from Linux {made_from}"

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the kernel's command line."""
        return tuple((self.read("/proc/cmdline") or "").split())

    def option(self, name: str) -> str | None:
        """The last value of an option on the command line, "" for a bare word; None without it."""
        found = [word.partition("=")[2] for word in self.words if word.partition("=")[0] == name]
        return found[-1] if found else None

    def built(self, option: str) -> bool | None:
        """Whether an option is built in or a module; None if the configuration is not known."""
        return option in self.config if self.config else None

    @cached_property
    def realtime(self) -> bool:
        """Whether it is a PREEMPT_RT kernel."""
        return self.read("/sys/kernel/realtime") == "1" or "PREEMPT_RT" in self.build

    @cached_property
    def cpu_flags(self) -> frozenset[str]:
        """Features of the first processor, as in /proc/cpuinfo."""
        for line in (self.read("/proc/cpuinfo") or "").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"flags", "Features"}:
                return frozenset(value.split())
        return frozenset()

    @cached_property
    def vendor(self) -> str:
        """The processor's maker, as in /proc/cpuinfo: "GenuineIntel", "AuthenticAMD" or ""."""
        for line in (self.read("/proc/cpuinfo") or "").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "vendor_id":
                return value.strip()
        return ""

    @property
    def x86(self) -> bool:
        """Whether it is an x86 processor; only these name a vendor there."""
        return bool(self.vendor)

    def cpus(self, path: str) -> frozenset[int]:
        """The CPUs in a file that lists them; none if it cannot be read."""
        text = (self.read(path) or "").strip()
        try:
            return cpu_set(text) if text and text != "(null)" else frozenset()
        except OSError:
            return frozenset()

    @cached_property
    def online(self) -> frozenset[int]:
        """The CPUs that run."""
        return self.cpus("/sys/devices/system/cpu/online")
