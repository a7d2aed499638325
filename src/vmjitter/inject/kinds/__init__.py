"""One file per kind of disturbance, each defines `KIND`."""

from __future__ import annotations

from typing import Final

from vmjitter.inject.kinds import (
    cpu_hog,
    disk,
    guest_irq_off,
    host_irq,
    interrupt_storm,
    iothread,
    lock,
    starved,
    swap_in,
    two,
)
from vmjitter.inject.kinds.kind import Kind

KINDS: Final[dict[str, Kind]] = {
    module.KIND.name: module.KIND
    for module in (
        cpu_hog,
        host_irq,
        interrupt_storm,
        lock,
        starved,
        iothread,
        disk,
        two,
        guest_irq_off,
        swap_in,
    )
}
