"""The guest's kernel has interrupts off, by its own tracer for hardware latencies.

``hwlat`` spins with interrupts off, for ``width`` of every ``window``, to see who takes the CPU
away meanwhile (Linux Documentation/trace/hwlat_detector.rst).  The wake-ups that fall into it are
late by what is left of it.  When it ran is in the guest's trace only, as turns of the thread
``hwlatd``.
"""

from __future__ import annotations

from typing import Final

from vmjitter.inject.kinds.kind import Kind
from vmjitter.units import NS_PER_MS

THREAD: Final = "hwlatd"

_SCRIPT: Final = """
cd /sys/kernel/tracing 2>/dev/null && [ -e available_tracers ] ||
{ mount -t tracefs tracefs /sys/kernel/tracing && cd /sys/kernel/tracing; } || exit 1
# the kernel refuses a width above the window, at every moment
echo "$1" >hwlat_detector/width && echo "$2" >hwlat_detector/window || exit 1
mkdir instances/vmjitter-inject && echo hwlat >instances/vmjitter-inject/current_tracer
"""

KIND: Final = Kind(
    name="guest-irq-off",
    what="the guest's kernel spins with interrupts off",
    length_ns=NS_PER_MS,
    causes=frozenset({"guest-irq-off"}),
    in_guest=_SCRIPT,
)
