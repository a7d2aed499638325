"""Programs that change the same settings, or act while a guest is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmjitter.doctor.check import Answer, Check, note, warning
from vmjitter.doctor.view import HostView
from vmjitter.tuning.knob import Needs

_COMM_BYTES: Final = 15
"""The kernel keeps so much of a program's name (proc_pid_comm(5))."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program.

    Attributes:
        command: as it is called.
        does: a clause without a full stop.
        unit: of systemd.
        harmful: it works against a guest, not only beside us.
    """

    command: str
    does: str
    cost: str
    source: str
    unit: str
    harmful: bool = True


TOOLS: Final = (
    Tool(
        command="irqbalance",
        does="moves interrupts between CPUs, also to those of guests",
        cost="interrupts come back to the vCPUs' CPUs; a restart redistributes for about 1 s",
        source="SEAPATH, tuned.conf.j2; irqbalance(1), IRQBALANCE_BANNED_CPULIST",
        unit="irqbalance",
    ),
    Tool(
        command="numad",
        does="moves memory and programs between nodes",
        cost="a guest's memory is unmapped and copied while it runs",
        source="numad(8)",
        unit="numad",
    ),
    Tool(
        command="ksmtuned",
        does="switches KSM on when memory is short",
        cost="merging comes back although /sys/kernel/mm/ksm/run was set",
        source="tuned, profile realtime-virtual-host",
        unit="ksmtuned",
    ),
    Tool(
        command="tuned",
        does="sets the same things as vmjitter's knobs",
        cost="applying a profile causes spikes itself, and a change of profile undoes ours",
        source="SEAPATH, tuned.conf.j2",
        unit="tuned",
        harmful=False,
    ),
    Tool(
        command="power-profiles-daemon",
        does="sets governor and energy preference",
        cost="the frequency goes down on battery, or when the user asks",
        source="power-profiles-daemon's documentation",
        unit="power-profiles-daemon",
    ),
    Tool(
        command="thermald",
        does="slows the processor down before it gets hot",
        cost="the frequency drops, and idle is injected for milliseconds with intel_powerclamp",
        source="Documentation/admin-guide/thermal/intel_powerclamp.rst",
        unit="thermald",
    ),
    Tool(
        command="auto-cpufreq",
        does="sets the governor by load",
        cost="the frequency goes down when the guest is quiet",
        source="auto-cpufreq's documentation",
        unit="auto-cpufreq",
    ),
    Tool(
        command="tlp",
        does="sets governor, turbo and device power by the power source",
        cost="the frequency goes down on battery",
        source="TLP's documentation",
        unit="tlp",
    ),
    Tool(
        command="cpuspeed",
        does="sets the frequency by load",
        cost="the frequency goes down when the guest is quiet",
        source="Documentation/admin-guide/pm/cpufreq.rst",
        unit="cpuspeed",
    ),
    Tool(
        command="scx_loader",
        does="replaces the kernel's scheduler by one in BPF",
        cost="ordinary threads beside the guest are scheduled by other rules",
        source="Documentation/scheduler/sched-ext.rst",
        unit="scx_loader",
        harmful=False,
    ),
)


def _look(tool: Tool, view: HostView) -> Answer:
    if tool.command[:_COMM_BYTES] not in view.commands:
        return None
    seen = warning if tool.harmful else note
    return seen(
        f"{tool.command} runs: it {tool.does}", f"/proc/*/comm = {tool.command[:_COMM_BYTES]}"
    )


def _check(tool: Tool) -> Check[HostView]:
    return Check(
        id=f"tool-{tool.command.replace('_', '-')}",
        asks=f"Does {tool.command} run? It {tool.does}.",
        reads=("/proc/*/comm",),
        cost=tool.cost,
        cure=f"systemctl stop {tool.unit} while it matters",
        source=tool.source,
        needs=Needs.NOTHING,
        look=lambda view: _look(tool, view),
    )


CHECKS: Final = tuple(_check(tool) for tool in TOOLS)
