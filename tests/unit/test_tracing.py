"""What is recorded: events that there are, who is who, counters, and the file that says so."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.test_qemu_cmdline import MACHINE, RESOURCES
from vmjitter.config.resolve import Choices, resolve
from vmjitter.config.sources import Value
from vmjitter.effects.clock import now_ns
from vmjitter.effects.clock_pair import clock_pair
from vmjitter.effects.thread_counters import thread_counters
from vmjitter.effects.threads import Thread
from vmjitter.errors import UsageError
from vmjitter.guest import layout
from vmjitter.guest.shm import SharedMemory
from vmjitter.model.trace import EventSet, QemuTrace, TraceSpec
from vmjitter.qemu.cmdline import qemu_argv
from vmjitter.session.samples import SampleFlow
from vmjitter.store.rundir import TrialWriter
from vmjitter.trace.attribute import visible
from vmjitter.tracing.counters import HEADER, CounterLog
from vmjitter.tracing.events import (
    GUEST_LEAN,
    GUEST_LIGHT,
    HOST_LEAN,
    HOST_LIGHT,
    QEMU_EVENTS,
    choose,
    guest_events,
    host_events,
    storms,
)
from vmjitter.tracing.qemu import store_log
from vmjitter.tracing.record import Kept, TraceRecord
from vmjitter.tracing.threads import children, own_roles, qemu_roles


def test_events_are_chosen_by_what_there_is() -> None:
    found, missing = choose(
        ("sched:sched_switch", "vhost:*", "kvm:kvm_exit"),
        ["vhost:vhost_work", "sched:sched_switch", "vhost:vhost_poll", "sched:sched_wakeup"],
    )
    assert found == ["sched:sched_switch", "vhost:vhost_poll", "vhost:vhost_work"]
    assert missing == ["kvm:kvm_exit"]


HOST_EVENTS = host_events(EventSet.FULL)


@given(st.lists(st.sampled_from([*HOST_EVENTS, "kvm:kvm_cr", "vhost:vhost_work"])))
def test_every_wanted_event_is_found_or_missing(available: list[str]) -> None:
    found, missing = choose(HOST_EVENTS, available)
    exact = {name for name in HOST_EVENTS if "*" not in name}
    assert set(found) <= set(available)
    assert "kvm:kvm_cr" not in found
    assert {name for name in found if name in exact} | (set(missing) & exact) == exact
    assert len(found) == len(set(found))


def test_an_event_that_storms_is_left_out() -> None:
    line = "          <idle>-0       [001] d..1.     1.937150: cpu_idle: state=1 cpu_id=1\n"
    assert storms(line * 401, 4_000_000, 2) == ["power:cpu_idle"]
    assert storms(line * 399, 4_000_000, 2) == []
    assert storms(line.replace("cpu_idle:", "kvm_exit:") * 401, 4_000_000, 2) == []


def test_no_event_is_listed_twice() -> None:
    for wanted in (HOST_EVENTS, guest_events(EventSet.FULL), QEMU_EVENTS):
        assert len(wanted) == len(set(wanted))


def test_the_lean_set_is_part_of_the_full_one() -> None:
    for wanted in (host_events, guest_events):
        assert set(wanted(EventSet.LEAN)) < set(wanted(EventSet.FULL))


def test_the_light_set_tells_who_had_the_cpu_and_no_more() -> None:
    assert set(HOST_LIGHT) < set(HOST_LEAN)
    assert set(GUEST_LIGHT) < set(GUEST_LEAN)
    names = frozenset(f"host:{event.partition(':')[2]}" for event in HOST_LIGHT)
    usable, unseen = visible(names, host=True)
    assert {"preempted", "run-queue", "host-irq", "disk"} <= {rule.cause for rule in usable}
    assert {"device-emulation", "kvm-exit", "timer-late"} <= {one.cause for one in unseen}


def test_roles_of_qemus_threads() -> None:
    names = {10: "qemu-system-x86", 11: "call_rcu", 12: "IO io0", 13: "CPU 0/KVM", 14: "worker",
             15: "vhost-10"}  # fmt: skip
    found = tuple(Thread(tid=tid, name=name, started=1) for tid, name in names.items())
    roles = qemu_roles(10, found, {0: 13}, {"io0": 12})
    assert {tid: one["role"] for tid, one in roles.items()} == {
        10: "main loop", 11: "qemu", 12: "iothread io0", 13: "vcpu 0", 14: "worker", 15: "vhost",
    }  # fmt: skip
    assert roles[13]["name"] == "CPU 0/KVM"


@pytest.fixture
def load(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A child that looks like one of our loads from outside."""
    program = tmp_path / "load-x86_64"
    program.write_text("import sys; print('up', flush=True); sys.stdin.read()")
    argv = ["load-x86_64", "udp-peer"]
    code = f"import os,sys; sys.argv={argv!r}; exec(open({str(program)!r}).read())"
    child = subprocess.Popen(
        ["load-x86_64", "-c", code],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    yield child
    child.communicate("")


def test_our_children_have_roles(load: subprocess.Popen[str]) -> None:
    roles = own_roles(None)
    assert load.pid in children(os.getpid())
    assert roles[os.getpid()]["role"] == "vmjitter"
    assert roles[load.pid]["role"] == "load -c"  # its second word names the task
    assert load.pid not in own_roles(load.pid)


def test_counters_of_a_thread_only_grow() -> None:
    first = thread_counters(os.getpid(), os.getpid())
    end_ns = now_ns() + 20_000_000
    while now_ns() < end_ns:
        pass
    second = thread_counters(os.getpid(), os.getpid())
    assert first is not None
    assert second is not None
    assert second.cpu_ns > first.cpu_ns
    assert second.run_delay_ns >= first.run_delay_ns
    assert second.minflt >= first.minflt
    assert thread_counters(os.getpid(), 1 << 30) is None


def test_the_counter_log(tmp_path: Path) -> None:
    path = tmp_path / "proc.csv"
    begin_ns = now_ns()
    with CounterLog(path) as log:
        assert log.due
        log.look({os.getpid(): os.getpid(), 1 << 30: os.getpid()})  # the second is gone
        assert not log.due
        lines = path.read_text().splitlines()  # on disk at once
    assert lines[0] == HEADER
    assert len(lines) == 2
    host_ns, tid, *rest = map(int, lines[1].split(","))
    assert begin_ns <= host_ns <= now_ns()
    assert tid == os.getpid()
    assert len(rest) == 4


def test_the_record_is_what_readers_expect() -> None:
    record = TraceRecord(qemu_pid=7, host_events=["sched:sched_switch"])
    record.threads[8] = {"role": "vcpu 0", "name": "CPU 0/KVM"}
    record.kept.append(Kept(from_ns=1, to_ns=2, why="activation 3, 4 ms late"))
    with record.action("look"):
        pass
    content = json.loads(record.to_json())
    assert content["format"] == 1
    assert content["clock"] == "mono"
    assert content["threads"] == {"8": {"role": "vcpu 0", "name": "CPU 0/KVM"}}
    assert content["lost"] == {"host": 0, "guest": 0}
    assert content["kept"] == [{"from_ns": 1, "to_ns": 2, "why": "activation 3, 4 ms late"}]
    [action] = content["own_actions"]
    assert action["what"] == "look"
    assert action["host_ns"] <= action["end_ns"] <= now_ns()


def test_of_very_many_actions_the_oldest_are_forgotten_and_counted() -> None:
    record = TraceRecord()
    for number in range(20_003):
        record.note_action(number, number, "look")
    assert len(record.own_actions) == 20_000
    assert record.own_actions[0].host_ns == 3
    assert json.loads(record.to_json())["forgotten_actions"] == 3


def test_two_clocks_at_one_moment() -> None:
    before_ns = now_ns()
    real_ns, mono_ns = clock_pair()
    assert before_ns <= mono_ns <= now_ns()
    later_real_ns, later_mono_ns = clock_pair()
    # the wall clock may be slewed meanwhile, but not by a tenth of a second
    assert abs((later_real_ns - real_ns) - (later_mono_ns - mono_ns)) < 100_000_000


def test_qemus_log_is_compressed_into_its_place(tmp_path: Path) -> None:
    log, target = tmp_path / ".live", tmp_path / "qemu.log.gz"
    store_log(log, target)
    assert not target.exists()  # there was none
    log.write_text("1@2.3:qemu_mutex_lock\n" * 1000)
    store_log(log, target)
    assert not log.exists()
    text = subprocess.run(["gzip", "-dc", target], capture_output=True, check=True, text=True)
    assert text.stdout == "1@2.3:qemu_mutex_lock\n" * 1000


def test_qemu_gets_a_log_for_its_events_only_if_they_are_wanted() -> None:
    with_log = dataclasses.replace(RESOURCES, trace_log=Path("/run/x/.qemu-trace.log"))
    assert qemu_argv("qemu", MACHINE, with_log)[-4:] == (
        *("-D", "/run/x/.qemu-trace.log", "-msg", "timestamp=on"),
    )
    assert "-D" not in qemu_argv("qemu", MACHINE, RESOURCES)


def _trace(**flags: object) -> TraceSpec:
    chosen = {key.replace("__", "."): Value(raw, "test") for key, raw in flags.items()}
    return resolve("paper", Choices(flags=chosen)).plan.trace


def test_settings_of_a_trace() -> None:
    assert _trace() == TraceSpec()
    assert not _trace().active
    assert _trace(trace__enabled=True).active
    chosen = _trace(trace__break="5ms", trace__buffer="4M", trace__qemu="on", trace__guest=False)
    assert chosen.active  # a threshold wants a trace
    assert chosen.break_ns == 5_000_000
    assert chosen.buffer_bytes == 4 << 20
    assert chosen.qemu is QemuTrace.ON
    assert not chosen.guest
    with pytest.raises(UsageError, match=r"trace\.qemu"):
        _trace(trace__qemu="perhaps")


def test_a_plans_trace_survives_being_written(tmp_path: Path) -> None:
    """A simulated host reads the plan that was resolved outside."""
    first = resolve("paper", Choices(flags={"trace.threshold": Value("300us", "--x")}))
    path = tmp_path / "paper.toml"
    path.write_text(first.toml)
    assert resolve(str(path), Choices()).plan.trace == first.plan.trace


def test_the_flow_says_which_wake_up_of_the_last_move_was_latest(tmp_path: Path) -> None:
    with open(tmp_path / "shm", "w+b") as file, TrialWriter(tmp_path) as writer:  # noqa: PTH123
        file.truncate(16 << 20)
        with SharedMemory(file.fileno()) as shm:
            flow = SampleFlow(shm, writer)
            _record(shm, 0, [5, layout.MISSED, 9, 7])
            flow.move()
            assert (flow.latest_activation, flow.latest_ns, flow.worst_ns) == (2, 9, 9)
            _record(shm, 4, [1, 3])
            flow.move()
            assert (flow.latest_activation, flow.latest_ns, flow.worst_ns) == (5, 3, 9)
            flow.move()
            assert flow.latest_ns is None
            del shm.probe, shm.control, shm.clock, shm.stream, shm.loads, shm.header


def _record(shm: SharedMemory, first: int, latencies: list[int]) -> None:
    for number, latency in enumerate(latencies, start=first):
        data = latency.to_bytes(8, "little", signed=True) + bytes(8)
        shm.write(layout.OFF_RING + number * layout.RECORD_BYTES, data)
    shm.probe.written = first + len(latencies)
