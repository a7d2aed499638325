"""The guest's own trace events, through its agent, before and after the measured phase.

The guest is ours alone, so its main ring is used: kernels before 3.10 have no instances.  It can be
read at the end only, since nothing runs in the guest on our behalf while it is measured; of a long
run it holds the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vmjitter.errors import GuestCommandFailed
from vmjitter.guest import layout
from vmjitter.guest.channel import GuestAgent
from vmjitter.guest.shm import SharedMemory
from vmjitter.tracing.events import choose
from vmjitter.tracing.record import TraceRecord

_PACKED: Final = "/tmp/vmjitter-trace.gz"  # noqa: S108 - in the guest, which is ours alone
_PIECE: Final = 120_000
"""Below the reply's capacity: of a longer output the agent keeps the end only."""
_READ_S: Final = 1800.0

# tracefs came with Linux 4.1 (commit 8434dc9340cd); before, the files were in debugfs
_MOUNT: Final = """
if mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; then cd /sys/kernel/tracing
else mount -t debugfs debugfs /sys/kernel/debug && cd /sys/kernel/debug/tracing; fi && pwd
"""
_READ: Final = 'cd "$1" && cat trace_clock available_events'
_SET: Final = """
cd "$1" && echo 0 >tracing_on && echo mono >trace_clock && echo "$2" >buffer_size_kb || exit 1
shift 2
for event; do echo "$event" >>set_event || echo "$event"; done 2>/dev/null
"""
_PACK: Final = """
cd "$1" && busybox gzip -c trace >"$2" && wc -c <"$2" &&
cat per_cpu/cpu*/stats | sed -n 's/^\\(overrun\\|dropped events\\): //p'
"""


class GuestTrace:
    """The events of one guest.

    Args:
        bytes_per_cpu: size of its ring.
        wanted: names of events.
        record: gets names, losses and notes.

    Raises:
        GuestCommandFailed: the guest's kernel cannot trace, or not on the clock of the probe.
    """

    def __init__(
        self,
        agent: GuestAgent,
        shm: SharedMemory,
        bytes_per_cpu: int,
        wanted: Sequence[str],
        record: TraceRecord,
    ) -> None:
        self._agent = agent
        self._shm = shm
        self._record = record
        self._place = self._run(_MOUNT).strip()
        clocks, _, listed = self._run(_READ, self._place).partition("\n")
        if "mono" not in clocks.replace("[", "").replace("]", "").split():
            raise GuestCommandFailed(f"no trace clock 'mono' in the guest, only {clocks.strip()}")
        events, missing = choose(wanted, listed.split())
        refused = self._run(_SET, self._place, str(bytes_per_cpu >> 10), *events).split()
        record.guest_events = [event for event in events if event not in refused]
        record.guest_missing = [*missing, *refused]

    def on(self) -> None:
        """Record from now on."""
        self._switch("1")

    def off(self) -> None:
        """Record no more."""
        self._switch("0")

    def store(self, target: Path) -> None:
        """Bring what it recorded here, compressed in the guest.

        Raises:
            GuestCommandFailed: the guest could not read its ring.
        """
        said = self._run(_PACK, self._place, _PACKED)
        try:
            size, *lost = map(int, said.split())
        except ValueError:
            raise GuestCommandFailed("the guest's ring cannot be read", evidence=said) from None
        self._record.lost["guest"] = sum(lost)
        with target.open("wb") as file:
            for index in range(-(-size // _PIECE)):
                script = 'dd if="$1" bs="$2" skip="$3" count=1 2>/dev/null'
                self._run(script, _PACKED, str(_PIECE), str(index))
                # the reply as it is in memory: as text it would be changed
                file.write(self._shm.read(layout.OFF_REPLY, self._shm.control.rep_len))
        self._run('rm -f "$1"', _PACKED)

    def _switch(self, value: str) -> None:
        self._run('echo "$1" >"$2/tracing_on"', value, self._place)

    def _run(self, script: str, *arguments: str) -> str:
        return self._agent.check(["sh", "-c", script, "sh", *arguments], timeout_s=_READ_S)
