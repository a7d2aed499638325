"""Probe and loads inside a guest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vmjitter.effects.clock import now_ns
from vmjitter.errors import GuestCommandFailed, GuestHang
from vmjitter.guest import layout
from vmjitter.guest.channel import Reply
from vmjitter.guest.shm import SharedMemory
from vmjitter.loads.catalog import Place
from vmjitter.model.plan import Disk, Network
from vmjitter.model.run import ClockOffset
from vmjitter.qemu.machine import QemuMachine, console_tail
from vmjitter.session.pingpong import best_offset, play
from vmjitter.units import NS_PER_S

SHM_IN_GUEST: Final = "/dev/vmjitter"
DISK_IN_GUEST: Final = "/mnt"
_DISK_DEVICES: Final = {Disk.IDE: "/dev/sda", Disk.VIRTIO: "/dev/vda"}
_CLOCK_WAIT_S: Final = 10.0
_SETTLE_NS: Final = 15 * NS_PER_S
_EARLY_CLOCKSOURCES: Final = frozenset({"tsc-early", "jiffies", "refined-jiffies"})


class GuestSide:
    """The `Side` of a running virtual machine.

    Args:
        address: the guest's own on its network.
        peer: ADDRESS:PORT of the host's end of the load ``udp``.
        free_cpus: see `Side.free_cpus`.
    """

    name = "guest"
    probe_program = "/bin/probe"

    def __init__(
        self,
        machine: QemuMachine,
        shm: SharedMemory,
        console_log: Path,
        *,
        address: str,
        peer: str,
        free_cpus: frozenset[int],
    ) -> None:
        self.free_cpus = free_cpus
        # the first one has the interrupts and the kernel's housekeeping; so do the field's recipes
        self.affinity = str(machine.vcpus - 1) if machine.vcpus > 1 else ""
        self._machine = machine
        self._shm = shm
        self._console = console_log
        self._address = address
        self.place = Place(
            program="/bin/load",
            shm_path=SHM_IN_GUEST,
            disk_dir=DISK_IN_GUEST,
            peer=peer,
        )

    def prepare(self, disk: Disk, network: Network) -> None:
        """Mount the scratch disk and give the network its address.

        Raises:
            GuestCommandFailed: the guest has no such device or refuses.
        """
        agent = self._machine.agent
        if disk is not Disk.NONE:
            agent.check(["mount", "-t", "ext4", _DISK_DEVICES[disk], DISK_IN_GUEST])
        if network is not Network.NONE:
            agent.check(["ifconfig", "lo", "127.0.0.1", "up"])
            agent.check(["ifconfig", "eth0", self._address, "netmask", "255.255.255.0", "up"])

    def settle(self) -> None:
        """Wait until the guest's clocksource is the one that it will keep.

        About a second after boot the kernel goes over from ``tsc-early`` to ``tsc``, once the TSC
        is calibrated (Linux commit aa83c45762a2, "x86/tsc: Introduce early tsc clocksource").
        """
        agent = self._machine.agent
        end_ns = now_ns() + _SETTLE_NS
        while now_ns() < end_ns:
            current = agent.check(["cat", f"{_CLOCKSOURCE}/current_clocksource"]).strip()
            if current not in _EARLY_CLOCKSOURCES:
                return
            agent.pause(0.1)

    def facts(self) -> dict[str, str]:
        """What the guest says about itself."""
        commands = {
            "kernel": ["uname", "-a"],
            "cmdline": ["cat", "/proc/cmdline"],
            "cpu": ["grep", "-m1", "model name", "/proc/cpuinfo"],
            "memory": ["grep", "MemTotal", "/proc/meminfo"],
            "clocksource": ["cat", f"{_CLOCKSOURCE}/current_clocksource"],
            "clocksources": ["cat", f"{_CLOCKSOURCE}/available_clocksource"],
            "realtime": ["cat", "/sys/kernel/realtime"],
            "rt_runtime_us": ["cat", "/proc/sys/kernel/sched_rt_runtime_us"],
        }
        agent = self._machine.agent
        facts = {}
        for name, argv in commands.items():
            reply = agent.call("run", *argv)
            facts[name] = reply.text.strip() if reply.status == 0 else ""
        control = self._shm.control
        facts["init_ns"] = str(control.init_ns)
        facts["ready_ns"] = str(control.ready_ns)
        return facts

    def spawn(self, argv: Sequence[str]) -> int:
        """See `Side.spawn`."""
        reply = self._machine.agent.call("spawn", *argv)
        if reply.status != 0:
            raise GuestCommandFailed(f"the guest cannot start {argv[0]}", evidence=reply.text)
        return int(reply.text)

    def runs(self, pid: int) -> bool:
        """See `Side.runs`."""
        return self._machine.agent.call("poll", str(pid)).text.strip() == "running"

    def start(self, argv: Sequence[str]) -> None:
        """See `Side.start`."""
        self._machine.agent.start("run", *argv)

    def finished(self) -> Reply | None:
        """See `Side.finished`."""
        agent = self._machine.agent
        return agent.reply() if agent.finished else None

    def pause(self, seconds: float) -> None:
        """See `Side.pause`."""
        self._machine.agent.pause(seconds)

    def clock_offset(self) -> ClockOffset | None:
        """See `Side.clock_offset`; the agent spins on the other end meanwhile."""
        agent = self._machine.agent
        self._shm.clock.clock_req = 0
        self._shm.clock.clock_ack = 0
        agent.start("clock")
        waited_s = 0.0
        while self._shm.control.agent_state != layout.AGENT_CLOCK:
            agent.pause(0.005)
            waited_s += 0.005
            if waited_s > _CLOCK_WAIT_S:
                raise GuestHang("the guest's agent did not take part in the clock ping-pong")
        rounds = play(self._shm, self._machine.check_alive)
        agent.wait(_CLOCK_WAIT_S)
        return best_offset(rounds)

    def evidence(self) -> str:
        """See `Side.evidence`."""
        return console_tail(self._console)


_CLOCKSOURCE: Final = "/sys/devices/system/clocksource/clocksource0"
