"""Work that drivers leave to any CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.tuning.knob import FileKnob, Host


def _elsewhere(host: Host) -> str:
    return cpu_mask(host.other_cpus)


def cpu_mask(cpus: Iterable[int]) -> str:
    """CPUs as a mask that the kernel reads: groups of 32 bits (lib/bitmap-str.c)."""
    mask = sum(1 << cpu for cpu in set(cpus))
    digits = f"{mask:x}"
    groups = [digits[max(0, end - 8) : end] for end in range(len(digits), 0, -8)]
    return ",".join(reversed(groups))


KNOB: Final = FileKnob(
    name="workqueues-elsewhere",
    effect="unbound work of the kernel is done on CPUs that the guest does not use",
    files=(("/sys/devices/virtual/workqueue/cpumask", _elsewhere),),
    needs_own_cpu=True,
    absent="the kernel was built without CONFIG_SYSFS",
    worth="tuned, profile realtime",
)
