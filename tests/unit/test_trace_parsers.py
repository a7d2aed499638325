"""The parsers of traces, on recordings, on built lines, and on damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.trace import events as ev
from vmjitter.trace.events import Source, What
from vmjitter.trace.locks import locks_of
from vmjitter.trace.parsers import Parsed
from vmjitter.trace.parsers.ftrace import parse_ftrace
from vmjitter.trace.parsers.proc_csv import parse_proc_csv
from vmjitter.trace.parsers.qemu_log import parse_qemu_log
from vmjitter.trace.thread_states import Doing, states_of

GOLDEN = Path(__file__).parents[1] / "golden" / "trace"
HEAD = "       CPU 0/KVM-2827    [001] d..2.  4213.904049: "


def one(line: str) -> What:
    parsed = parse_ftrace([line], Source.HOST)
    assert not parsed.broken, parsed.first_broken
    (event,) = parsed.events
    return event.what


def golden(name: str) -> list[str]:
    return (GOLDEN / name).read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "present"),
    [
        ("host-6.18.txt", ["sched_switch", "block_rq_issue", "irq_handler_entry"]),
        ("kvm-6.18.txt", ["kvm_pio", "kvm_mmio", "kvm_userspace_exit"]),
    ],
)
def test_recordings_are_read_completely(name: str, present: list[str]) -> None:
    lines = golden(name)
    parsed = parse_ftrace(lines, Source.HOST)
    assert parsed.broken == 0
    assert parsed.lost == 0
    assert len(parsed.events) == sum(not line.startswith("#") for line in lines)
    assert parsed.seen.total() == len(parsed.events)
    for event in present:
        assert parsed.seen[event] == sum(f": {event}: " in line for line in lines) > 0


def test_a_recorded_virtual_cpu_goes_to_qemu_and_waits_for_its_turn() -> None:
    parsed = parse_ftrace(golden("kvm-6.18.txt"), Source.HOST)
    states = states_of(parsed.events, {2827: True})[2827]
    doing = {state.doing for state in states.items}
    assert {Doing.QEMU, Doing.READY} <= doing
    assert {state.reason for state in states.items if state.doing is Doing.QEMU} >= {"IO"}


def test_the_recorded_log_of_qemu() -> None:
    parsed = parse_qemu_log(golden("qemu-7.2.log"))
    assert parsed.broken == 0
    first = next(e for e in parsed.events if isinstance(e.what, ev.UserExit))
    assert first.time_ns == 1795677783_146357_000
    assert first.tid == 2827
    assert first.what == ev.UserExit("IO")
    device = next(e.what for e in parsed.events if isinstance(e.what, ev.Access))
    assert device == ev.Access("device", write=True, address=0x70, name="rtc-index")
    commands = [e.what.text for e in parsed.events if isinstance(e.what, ev.Request)]
    assert any("query-cpus-fast" in text for text in commands)
    assert locks_of(parsed.events).big == "0x56361c930b40"


BUILT: list[tuple[str, What]] = [
    ("kvm_entry: vcpu 0, rip 0xffffffff8 intr_info 0x0 error_code 0x0", ev.Entry(0xFFFFFFFF8)),
    ("kvm_exit: vcpu 0 reason EPT_VIOLATION rip 0x1 info1 0x181", ev.Exit("EPT_VIOLATION", 1)),
    ("kvm_exit: reason HLT rip 0xffffffff8100", ev.Exit("HLT", 0xFFFFFFFF8100)),
    ("kvm_userspace_exit: reason KVM_EXIT_MMIO (6)", ev.UserExit("MMIO")),
    ("kvm_userspace_exit: reason restart (10)", ev.UserExit("restart")),
    (
        "kvm_pio: pio_read at 0x1f7 size 1 count 1 val 0x50 ",
        ev.Access("pio", write=False, address=0x1F7),
    ),
    (
        "kvm_mmio: mmio write len 4 gpa 0xfebc00d0 val 0x1",
        ev.Access("mmio", write=True, address=0xFEBC00D0),
    ),
    (
        "kvm_page_fault: vcpu 0 rip 0x1 address 0x000000003f000000 error_code 0x181",
        ev.PageFault(0x3F000000),
    ),
    ("kvm_vcpu_wakeup: wait time 991 ns, polling valid", ev.Woken(waited=True, ns=991)),
    ("kvm_apic_accept_irq: apicid 0 vec 236 (Fixed|edge)", ev.Injected(236)),
    ("kvm_inj_virq: IRQ 0xec", ev.Injected(236)),
    ("local_timer_entry: vector=236", ev.Begin("irq", "vector 236", "local timer")),
    ("irq_handler_entry: irq=36 name=virtio1-req.0", ev.Begin("irq", "irq 36", "virtio1-req.0")),
    ("irq_handler_exit: irq=36 ret=handled", ev.End("irq", "irq 36")),
    ("softirq_entry: vec=3 [action=NET_RX]", ev.Begin("softirq", "3", "NET_RX")),
    ("irq_disable: caller=foo+0x1/0x2 parent=bar+0x1", ev.Begin("irqs-off", "", "foo+0x1/0x2")),
    ("cpu_idle: state=4294967295 cpu_id=3", ev.CpuIdle(ev.IDLE_ENDS, 3)),
    (
        "hrtimer_start: hrtimer=00000000ab function=apic_timer_fn expires=5000 softexpires=5000",
        ev.TimerSet("00000000ab", "apic_timer_fn", 5000),
    ),
    (
        "hrtimer_expire_entry: hrtimer=00000000ab function=apic_timer_fn [kvm] now=13383346765",
        ev.TimerFires("00000000ab", "apic_timer_fn"),
    ),
    (
        "block_rq_issue: 8,0 FWS 0 () 18446744073709551615 + 0 none,0,0 [qemu]",
        ev.DiskStart("8,0", "FWS", 18446744073709551615, 0),
    ),
    (
        "irq_noise: local_timer:236 start 12.000000500 duration 1500 ns",
        ev.Noise("irq", "local_timer", 1500),
    ),
    ("nmi_noise: start 12.000000500 duration 99 ns", ev.Noise("nmi", "", 99)),
    ("#12420 context    irq timer_latency       458 ns", ev.TimerLatency("irq", 458)),
    ("tracing_mark_write: hit latency threshold", ev.Marker("hit latency threshold")),
    ("some_new_event: whatever=1", ev.Other("some_new_event")),
]


@pytest.mark.parametrize(("text", "what"), BUILT, ids=[text.split(":")[0] for text, _ in BUILT])
def test_each_event(text: str, what: What) -> None:
    assert one(HEAD + text) == what


@pytest.mark.parametrize(
    "head",
    [
        "  CPU 0/KVM-2827  [001]  4213.904049: ",  # noirq-info
        "  CPU 0/KVM-2827  (   2825) [001] d..2.  4213.904049: ",  # record-tgid
        "  CPU 0/KVM-2827  (-------) [001] d..2.  4213.904049: ",
        "       CPU 0/KVM-2827  [001]  4213.904049123: ",  # trace-cmd report -t
    ],
)
def test_columns_that_may_be_missing(head: str) -> None:
    parsed = parse_ftrace([head + "kvm_entry: vcpu 0, rip 0x1"], Source.HOST)
    (event,) = parsed.events
    assert (event.comm, event.tid, event.cpu) == ("CPU 0/KVM", 2827, 1)
    assert event.time_ns // 1000 == 4213_904_049


def test_names_with_blanks_and_dashes() -> None:
    switch = one(
        HEAD + "sched_switch: prev_comm=IO mon-1 x prev_pid=5 prev_prio=98 prev_state=R+ ==> "
        "next_comm=a=b pid=3 next_pid=7 next_prio=-1"
    )
    assert switch == ev.Switch(5, "IO mon-1 x", 98, "R+", 7, "a=b pid=3", -1)
    assert ev.priority_text(-1) == "deadline"
    assert ev.priority_text(98) == "real-time 1"
    assert ev.priority_text(125) == "nice 5"


def test_lost_events_are_a_gap_on_their_cpu() -> None:
    parsed = parse_ftrace(
        [
            HEAD + "kvm_entry: vcpu 0, rip 0x1",
            "CPU:1 [LOST 123 EVENTS]",
            HEAD.replace("904049", "905000") + "kvm_exit: vcpu 0 reason HLT rip 0x1",
        ],
        Source.HOST,
    )
    assert parsed.lost == 123
    gap = parsed.events[1]
    assert gap.what == ev.Lost(123, 4213_905_000_000)
    assert (gap.time_ns, gap.cpu) == (4213_904_049_000, 1)
    states = states_of(parsed.events, {2827: True})[2827]
    assert all(state.doing is not Doing.GUEST for state in states.items)


def test_what_is_left_out_is_a_gap_too() -> None:
    lines = golden("host-6.18.txt")
    every = parse_ftrace(lines, Source.HOST)
    middle = every.events[len(every.events) // 2].time_ns
    part = parse_ftrace(lines, Source.HOST, [(0, middle - 5_000_000), (middle, middle * 2)])
    assert part.seen == every.seen
    gaps = [event for event in part.events if isinstance(event.what, ev.Lost)]
    assert {gap.cpu for gap in gaps} == {0, 1}
    kept = [event for event in part.events if not isinstance(event.what, ev.Lost)]
    assert 0 < len(kept) < len(every.events)
    assert all(not middle - 5_000_000 <= event.time_ns < middle for event in kept)


def test_damaged_lines_are_counted_with_the_first_one() -> None:
    lines = [
        "# tracer: nop",
        HEAD + "kvm_entry: vcpu 0, rip 0x1",
        HEAD + "sched_switch: prev_comm=a prev_pid=",
        "cut in the mid",
        "",
    ]
    parsed = parse_ftrace(lines, Source.HOST)
    assert (len(parsed.events), parsed.broken) == (1, 2)
    assert parsed.first_broken.startswith("line 3: CPU 0/KVM-2827")


def test_the_log_may_be_cut_and_hold_other_lines() -> None:
    parsed = parse_qemu_log(
        [
            "qemu-system-x86_64: warning: something",
            "1@1700000000.000001:qemu_mutex_lock waiting on mutex 0x1 (../../a.c:1)",
            "1@1700000000.000002:qemu_mutex_locked taken mu",
            "1@1700000000.0000",
            "1@1700000000.000004:virtio_blk_handle_read vdev 0x1 req 0x2 sector 0 nsectors 8",
        ]
    )
    assert [type(event.what) for event in parsed.events] == [ev.LockWait, ev.Request]
    assert parsed.broken == 2
    assert parsed.first_broken.startswith("line 3")


def test_counters() -> None:
    counters = parse_proc_csv(
        [
            "host_ns,tid,run_delay_ns,cpu_ns,minflt,majflt",
            "2000,7,50,100,1,0",
            "1000,7,20,60,1,0",
            "2000,8,1,1,1",
            "x,7,1,1,1,1",
        ]
    )
    assert [look.run_delay_ns for look in counters.looks[7]] == [20, 50]
    assert counters.broken == 2
    assert parse_proc_csv([]).looks == {}
    assert parse_proc_csv(["other,columns", "1,2"]).broken == 1


def _key(parsed: Parsed) -> tuple[object, ...]:
    return (parsed.events, parsed.seen, parsed.unknown, parsed.broken, parsed.lost)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40_000), st.binary(max_size=30), st.booleans())
def test_no_damage_stops_a_parser(place: int, noise: bytes, cut: bool) -> None:  # noqa: FBT001
    for name in ("host-6.18.txt", "qemu-7.2.log"):
        data = (GOLDEN / name).read_bytes()
        at = place % len(data)
        damaged = data[:at] + noise + (b"" if cut else data[at + len(noise) :])
        lines = damaged.decode(errors="replace").split("\n")
        if name.endswith(".log"):
            assert _key(parse_qemu_log(lines)) == _key(parse_qemu_log(lines))
        else:
            parsed = parse_ftrace(lines, Source.HOST)
            states_of(parsed.events, {2827: True, 25580: False})
            assert parsed.broken <= 3 + noise.count(b"\n")
