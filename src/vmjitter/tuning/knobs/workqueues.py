"""Work that drivers leave to any CPU."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob, Host


def _elsewhere(host: Host) -> str:
    return f"{sum(1 << cpu for cpu in host.other_cpus):x}"


KNOB: Final = FileKnob(
    name="workqueues-elsewhere",
    effect="unbound work of the kernel is done on CPUs that the guest does not use",
    files=(("/sys/devices/virtual/workqueue/cpumask", _elsewhere),),
    absent="the kernel was built without CONFIG_SYSFS",
    worth="tuned, profile realtime",
)
