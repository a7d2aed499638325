"""The traces of one trial: everything that can be recorded here, around its measured phase."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vmjitter.effects.clock import now_ns
from vmjitter.effects.clock_pair import clock_pair
from vmjitter.effects.threads import threads
from vmjitter.errors import CommandFailed, GuestCommandFailed, VmjitterError
from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory
from vmjitter.loads.catalog import BESIDE_SLOT
from vmjitter.model.plan import Where
from vmjitter.model.trace import QemuTrace, TraceSpec
from vmjitter.qemu.machine import QemuMachine
from vmjitter.session.context import TrialContext
from vmjitter.session.samples import SampleFlow
from vmjitter.store.atomic import write_text, writing
from vmjitter.tracing.counters import OFTEN_NS, SELDOM_NS, CounterLog
from vmjitter.tracing.events import guest_events
from vmjitter.tracing.guest import GuestTrace
from vmjitter.tracing.host import HostTrace, host_trace
from vmjitter.tracing.qemu import LIVE_LOG, QemuEvents, store_log
from vmjitter.tracing.record import (
    COUNTERS_FILE,
    GUEST_FILE,
    HOST_FILE,
    META_FILE,
    QEMU_FILE,
    TRACE_DIR,
    TraceRecord,
)
from vmjitter.tracing.threads import STORAGE_DAEMON, kernel_roles, own_roles, qemu_roles
from vmjitter.tracing.tsc import kvm_tsc
from vmjitter.units import format_ns

_PROGRAMS: Final = {"udp-send": "udp", "udp-recv": "udp"}
_NOT_ASKED: Final = "events were not asked for: vmjitter run ... --trace"


class Recorder:
    """Use as a context manager around the whole trial; what was recorded is stored however it ends.

    Args:
        context: the trial; its directory gets ``trace/``, see docs/method/tracing.md.

    Raises:
        DataError: the directory cannot be written.
    """

    def __init__(self, context: TrialContext) -> None:
        self._context = context
        self._spec = context.plan.trace if context.scenario.trace else TraceSpec()
        self._record = TraceRecord()
        self._directory = context.writer.path / TRACE_DIR
        self._machine: QemuMachine | None = None
        self._qemu: QemuEvents | None = None
        self._guest: GuestTrace | None = None
        self._host: HostTrace | None = None
        self._began = self._stopped = self._stored = False
        self._worst_ns: int | None = None
        with writing(self._directory):
            self._directory.mkdir(exist_ok=True)
        with ExitStack() as stack:
            distance_ns = OFTEN_NS if self._spec.active else SELDOM_NS
            counters = CounterLog(self._directory / COUNTERS_FILE, distance_ns)
            self._counters = stack.enter_context(counters)
            if self._spec.active:
                output = self._directory / HOST_FILE
                self._host = host_trace(self._spec, self._record, output, stack.enter_context)
            else:
                self._record.why = _NOT_ASKED
            self._stack = stack.pop_all()
        self._rank()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if self._stored or not self._began:
                return
            self._record.notes.append("the trial ended early; this is what had been recorded")
            with suppress(VmjitterError, OSError):
                if self._host is not None:
                    self._host.off()
                self._store()

    @property
    def qemu_log(self) -> Path | None:
        """Where QEMU has to write its events; None if they are not recorded."""
        wanted = self._spec.qemu is QemuTrace.ON or (
            self._spec.qemu is QemuTrace.AUTO and self._host is None
        )
        if not self._spec.active or not wanted:
            return None
        return (self._context.writer.path / LIVE_LOG).absolute()

    def attach(self, machine: QemuMachine) -> None:
        """Prepare what needs the running guest; nothing is recorded yet."""
        self._machine = machine
        record = self._record
        record.qemu_pid = machine.child.pid
        record.kvm_tsc, why = kvm_tsc(machine.child.pid)
        self._rank(why)
        if (log := self.qemu_log) is not None:
            self._qemu = QemuEvents(machine.qmp, log, self._spec.keep_bytes, record)
        if self._spec.active and self._spec.guest:
            wanted = guest_events(self._spec.events)
            try:
                size = min(self._spec.buffer_bytes, self._context.plan.guest.memory_bytes // 32)
                self._guest = GuestTrace(machine.agent, self._context.shm, size, wanted, record)
            except GuestCommandFailed as error:
                said = " ".join((error.evidence or error.message).split())
                record.notes.append(f"no trace of the guest's kernel: {said}")

    def begin(self) -> None:
        """Right before the probe starts: everything on."""
        self._began = True
        self._record.realtime.append(clock_pair())
        self._find_threads()
        self._count()
        if self._guest is not None:
            self._guest.on()
        if self._qemu is not None:
            self._qemu.on()
        if self._host is not None:
            self._host.on()

    def look(self, flow: SampleFlow, begin_ns: int) -> None:
        """At each look at the shared memory.

        Args:
            flow: has just moved what is new.
            begin_ns: when this look began, on the host's clock; from then on it is our own action.
        """
        if self._counters.due:
            self._find_workers()
            self._count()
        self._judge(flow)
        if self._qemu is not None:
            self._qemu.look()
        if self._host is not None and not self._stopped:
            self._host.look()
        self._record.note_action(begin_ns, now_ns(), "look at the shared memory")

    def end(self) -> None:
        """Right after the probe has ended: everything off."""
        self._count()
        if self._host is not None:
            self._host.off()
        if self._qemu is not None:
            self._qemu.off()
        if self._guest is not None:
            self._guest.off()

    def store(self) -> None:
        """Write what was recorded; the guest still runs.

        Raises:
            DataError: it cannot be written.
            GuestLost: the guest is gone.
        """
        if self._guest is not None:
            target = self._directory / GUEST_FILE
            try:
                self._guest.store(target)
            except GuestCommandFailed as error:
                target.unlink(missing_ok=True)
                self._record.notes.append(f"the guest's trace is lost: {error.evidence}")
        self._store()

    def _rank(self, why: str = "") -> None:
        """The rung of the ladder, see docs/method/tracing.md."""
        record = self._record
        if self._host is None:
            record.rung = 3
        elif self._context.scenario.where is Where.HOST or record.kvm_tsc:
            record.rung, record.why = 1, ""
        else:
            record.rung, record.why = 2, why

    def _judge(self, flow: SampleFlow) -> None:
        """Whether a wake-up since the last look is to be kept, or ends the trial."""
        late_ns = flow.latest_ns
        if late_ns is None:
            return
        limit_ns = (
            self._spec.threshold_ns if self._spec.threshold_ns is not None else self._worst_ns
        )
        self._worst_ns = max(late_ns, self._worst_ns if self._worst_ns is not None else late_ns)
        why = f"activation {flow.latest_activation}, {format_ns(late_ns)} late"
        ends = self._spec.break_ns is not None and late_ns > self._spec.break_ns
        if self._host is not None and (ends or limit_ns is None or late_ns > limit_ns):
            self._host.want(why)
        if ends and not self._stopped:
            self._stop(why)

    def _stop(self, why: str) -> None:
        if self._host is not None:
            self._host.off()
        self._stopped = True
        self._context.shm.control.stop = 1
        limit = format_ns(self._spec.break_ns or 0)
        self._context.outcome.deviations.append(f"ended early, as --breaktrace {limit} asks: {why}")

    def _store(self) -> None:
        self._stored = True
        record = self._record
        record.realtime.append(clock_pair())
        self._note_guest_tasks(self._context.shm)
        if self._host is not None:
            self._finish_host(self._host)
            if self._spec.threshold_ns is not None or len(record.kept) > 1:
                record.keep = "around spikes"
        live = self._context.writer.path / LIVE_LOG
        try:
            store_log(live, self._directory / QEMU_FILE)
        except VmjitterError as error:
            record.notes.append(f"QEMU's log is not compressed, it is {LIVE_LOG}: {error.message}")
        write_text(self._directory / META_FILE, record.to_json())

    def _finish_host(self, host: HostTrace) -> None:
        try:
            host.finish(wanted=self._spec.threshold_ns is None)
        except (CommandFailed, OSError) as error:
            self._record.notes.append(f"the end of the host's trace is lost: {error}")

    def _note_guest_tasks(self, shm: SharedMemory) -> None:
        if self._machine is None:
            self._note_host_probe(shm)
            return
        self._record.probe_guest_tid = int(shm.probe.pid) or None
        for slot in shm.loads[:BESIDE_SLOT]:
            if slot.state != layout.RUN_NONE and slot.pid:
                # one program, two slots: "udp-send" and "udp-recv"
                name = slot.name.decode()
                self._record.guest_tasks[int(slot.pid)] = f"load {_PROGRAMS.get(name, name)}"

    def _note_host_probe(self, shm: SharedMemory) -> None:
        """A look at /proc may come before the probe's exec, or a short trial end without one."""
        if pid := int(shm.probe.pid):
            self._record.threads[pid] = {"role": "probe", "name": "probe"}

    def _find_threads(self) -> None:
        """Who is who, asked of QEMU, the kernel and /proc; before the measured phase only."""
        record, machine = self._record, self._machine
        record.threads |= own_roles(record.qemu_pid)
        if machine is None:
            return
        pid = machine.child.pid
        vcpus, iothreads = {}, {}
        with suppress(CommandFailed):
            vcpus = machine.vcpu_threads()
            listed = machine.qmp.execute("query-iothreads")
            for one in listed if isinstance(listed, list) else []:
                iothreads[str(one["id"])] = int(one["thread-id"])
        record.threads |= qemu_roles(pid, threads(pid), vcpus, iothreads)
        record.threads |= kernel_roles(pid)

    def _find_workers(self) -> None:
        """Threads that QEMU has started since, or the probe of the host."""
        record = self._record
        if record.qemu_pid is None:
            if not any(one["role"] == "probe" for one in record.threads.values()):
                record.threads |= own_roles(None)
            return
        for one in threads(record.qemu_pid):
            if one.tid not in record.threads:
                record.threads |= qemu_roles(record.qemu_pid, (one,), {}, {})
        for one in threads(self._storage_pid) if self._storage_pid is not None else ():
            record.threads.setdefault(one.tid, {"role": STORAGE_DAEMON, "name": one.name})

    def _count(self) -> None:
        with writing(self._directory / COUNTERS_FILE):
            self._counters.look(self._processes())

    @property
    def _storage_pid(self) -> int | None:
        """Of the process that serves the disk in QEMU's place, or None."""
        storage = self._machine.storage if self._machine is not None else None
        return storage.child.pid if storage is not None else None

    def _processes(self) -> dict[int, int]:
        """Process of each thread whose counters are recorded, by thread id."""
        record = self._record
        if record.qemu_pid is not None:
            both = (record.qemu_pid, self._storage_pid)
            return {one.tid: pid for pid in both if pid is not None for one in threads(pid)}
        ours = (tid for tid, one in record.threads.items() if one["role"] != "vmjitter")
        return {tid: tid for tid in ours}
