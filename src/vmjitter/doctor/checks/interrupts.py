"""Interrupts of devices on the guests' CPUs."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, Unseen, note, ok
from vmjitter.doctor.view import HostView
from vmjitter.effects.threads import cpu_list
from vmjitter.tuning.knob import Needs

_SHOWN: Final = 4


def interrupt_counts(view: HostView) -> dict[str, tuple[str, dict[int, int]]]:
    """Device and counts by CPU of each numbered interrupt in /proc/interrupts."""
    lines = (view.read("/proc/interrupts") or "").splitlines()
    if not lines:
        return {}
    cpus = [int(word.removeprefix("CPU")) for word in lines[0].split() if word.startswith("CPU")]
    found = {}
    for line in lines[1:]:
        number, _, rest = line.partition(":")
        words = rest.split()
        if number.strip().isdecimal() and len(words) >= len(cpus):
            counts = [int(word) if word.isdecimal() else 0 for word in words[: len(cpus)]]
            device = " ".join(words[len(cpus) :][-1:])
            found[number.strip()] = (device, dict(zip(cpus, counts, strict=True)))
    return found


def on_cpus(view: HostView, cpus: frozenset[int]) -> list[str]:
    """Interrupts that have come on these CPUs since the start, with their counts."""
    found = []
    for number, (device, counts) in interrupt_counts(view).items():
        total = sum(count for cpu, count in counts.items() if cpu in cpus)
        if total:
            found.append((total, f"{number} ({device}): {total}"))
    return [text for _, text in sorted(found, reverse=True)]


def _placed(view: HostView) -> Answer:
    if not view.isolated:
        return None
    placed = []
    for path in view.tree.match("/proc/irq/[0-9]*"):
        allowed = view.cpus(f"{path}/effective_affinity_list") or view.cpus(
            f"{path}/smp_affinity_list"
        )
        if allowed & view.isolated:
            placed.append(path.rpartition("/")[2])
    if not view.tree.exists("/proc/irq"):
        return Unseen(why="/proc/irq does not exist: the interrupts belong to another system")
    came = on_cpus(view, view.isolated)
    cpus = cpu_list(view.isolated)
    counts = f"; since the start: {', '.join(came[:_SHOWN])}" if came else ""
    if placed:
        listed = ", ".join(sorted(placed, key=int)[: 2 * _SHOWN])
        more = f" and {len(placed) - 2 * _SHOWN} more" if len(placed) > 2 * _SHOWN else ""
        return note(
            f"Devices may interrupt the guests' CPUs {cpus}",
            f"/proc/irq/N/effective_affinity_list, N = {listed}{more}{counts}",
        )
    return ok("No device is sent to the guests' CPUs", f"/proc/irq/*: none on CPUs {cpus}{counts}")


def _managed(view: HostView) -> Answer:
    if not view.isolated:
        return None
    chosen = view.option("isolcpus")
    if chosen is None:
        return None
    if "managed_irq" in chosen.split(","):
        return ok("Queues of disks and networks spare the guests' CPUs", f"isolcpus={chosen}")
    return note("Queues of disks and networks may use the guests' CPUs", f"isolcpus={chosen}")


CHECKS: Final = (
    Check[HostView](
        id="interrupt-placement",
        asks="Do devices interrupt the guests' CPUs?",
        reads=("/proc/irq/*/effective_affinity_list", "/proc/interrupts"),
        cost="each interrupt takes the vCPU out of its guest; pinning then makes it worse",
        cure="echo LIST > /proc/irq/N/smp_affinity_list, or boot with irqaffinity=LIST, LIST the "
        "other CPUs",
        source="Documentation/core-api/irq/irq-affinity.rst; cr0x.net on pinning",
        knob="irqs-elsewhere",
        look=_placed,
    ),
    Check[HostView](
        id="managed-interrupts",
        asks="Do the kernel's own queues spare the guests' CPUs?",
        reads=("/proc/cmdline",),
        cost="interrupts that the kernel places itself cannot be moved by hand",
        cure="boot with isolcpus=managed_irq,domain,LIST",
        source="Documentation/admin-guide/kernel-parameters.txt, isolcpus",
        needs=Needs.HOST,
        look=_managed,
    ),
)
