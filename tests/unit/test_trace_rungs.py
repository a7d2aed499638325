"""What can be said with less: QEMU's log and counters alone, a probe on the host, TCG, holes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes import tracemaker as make
from fakes.tracemaker import MS, OFFSET_NS, REAL_NS, US, VCPU, TraceMaker
from fakes.tracescene import BOUND_NS, scene_of, windows_of
from vmjitter.errors import DataError
from vmjitter.trace.attribute import Attribution, attribute, visible
from vmjitter.trace.clock import guest_clock
from vmjitter.trace.events import Source
from vmjitter.trace.meta import parse_meta
from vmjitter.trace.parsers.ftrace import parse_ftrace
from vmjitter.trace.parsers.proc_csv import parse_proc_csv
from vmjitter.trace.parsers.qemu_log import parse_qemu_log
from vmjitter.trace.rules import RULES, UNEXPLAINED
from vmjitter.trace.scene import Material, Scene, build_scene
from vmjitter.trace.window import Window

START = 20_000_000_000
CLOCK = guest_clock([(0, OFFSET_NS, BOUND_NS), (10**11, OFFSET_NS, BOUND_NS)])


def explain(scene: Scene, start: int, latency: int) -> Attribution:
    rules, _ = visible(scene.names, host=True)
    return attribute(scene, Window(7, start, latency), rules)


def meta_of(**changes: object) -> str:
    none: dict[str, object] = {"host_events": [], "guest_events": [], "qemu_events": []}
    return json.dumps(TraceMaker().meta(**{**none, "rung": 3, **changes}))


def stamp(at: int) -> str:
    return f"{(at + REAL_NS) // 10**9}.{(at + REAL_NS) % 10**9 // US:06}"


def rung3(log: list[str], counters: list[str]) -> Scene:
    return build_scene(
        Material(
            meta=parse_meta(meta_of(), "meta.json"),
            qemu=parse_qemu_log(log),
            counters=parse_proc_csv(["host_ns,tid,run_delay_ns,cpu_ns,minflt,majflt", *counters]),
            guest_clock=CLOCK,
        )
    )


def test_qemus_own_log_shows_emulation_and_waits() -> None:
    lock = make.LOCK
    taken, own = "(../../a.c:1)", "(../../b.c:2)"
    access = "cpu 0 mr 0x1 addr 0x1f7 value 0x20 size 1 name 'ide'"
    at = START + 100 * US
    log = [
        f"100@{stamp(START)}:qemu_mutex_locked taken mutex {lock} {taken}",
        f"{VCPU}@{stamp(at)}:kvm_run_exit cpu_index 0, reason 2",
        f"{VCPU}@{stamp(at + 10 * US)}:qemu_mutex_lock waiting on mutex {lock} {own}",
        f"100@{stamp(at + 509 * US)}:qemu_mutex_unlock released mutex {lock} {taken}",
        f"{VCPU}@{stamp(at + 510 * US)}:qemu_mutex_locked taken mutex {lock} {own}",
        f"{VCPU}@{stamp(at + 511 * US)}:memory_region_ops_write {access}",
        f"{VCPU}@{stamp(at + 700 * US)}:kvm_vcpu_ioctl cpu_index 0, type 0xae80, arg (nil)",
    ]
    one = explain(rung3(log, []), START, 2 * MS)
    assert one.of("lock-wait") == 500 * US
    assert one.of("device-emulation") == 200 * US
    details = {share.cause: share.details[0][0] for share in one.shares}
    assert details["lock-wait"] == (
        "the big lock; holder: main loop (qemu-system-x86, 100), taken at a.c:1"
    )
    assert details["device-emulation"] == "ide, write at 0x1f7"
    assert one.of(UNEXPLAINED) == 1300 * US


def counters(steal_ns: int) -> list[str]:
    delay = 0
    rows = []
    for number in range(9):
        delay += steal_ns if number == 5 else 10 * US
        rows.append(f"{START + (number - 5) * 500 * MS + 100 * MS},{VCPU},{delay},0,0,0")
    return rows


def test_the_counter_shows_that_the_cpu_was_taken() -> None:
    one = explain(rung3([], counters(3 * MS)), START, 3 * MS)
    assert one.main.cause == "preempted"
    assert one.of("preempted") == 3 * MS - 10 * US
    assert "by whom is not known" in one.main.details[0][0]


@pytest.mark.parametrize("steal_ns", [10 * US, 1 * MS, 30 * MS])
def test_a_counter_that_grew_by_something_else_shows_nothing(steal_ns: int) -> None:
    one = explain(rung3([], counters(steal_ns)), START, 3 * MS)
    assert [share.cause for share in one.shares] == [UNEXPLAINED]


def test_the_counter_is_not_asked_where_the_scheduler_was_seen() -> None:
    maker = TraceMaker()
    maker.wakeup()
    maker.wakeup(host=make.stands_still(3 * MS))
    scene = scene_of(maker)
    rules, _ = visible(scene.names | {"proc:schedstat"}, host=True)
    assert attribute(scene, windows_of(maker)[1], rules).of("preempted") == 0


def test_a_probe_on_the_host_itself() -> None:
    maker = TraceMaker()
    probe = "probe-900-19"
    maker.switch(START - MS, probe, "S", "swapper/1-0-120")
    maker.switch(START - 10 * US, "swapper/1-0-120", "R", make.HOG_TASK)
    maker.host(START + 2 * US, "hrtimer_expire_entry", "hrtimer=01 function=hrtimer_wakeup now=1")
    maker.host(START + 3 * US, "sched_waking", "comm=probe pid=900 prio=19 target_cpu=001")
    maker.switch(START + 800 * US, make.HOG_TASK, "R", probe)
    threads = {"900": {"role": "probe", "name": "probe"}}
    text = json.dumps(maker.meta(threads=threads, probe_guest_tid=None))
    scene = build_scene(
        Material(
            meta=parse_meta(text, "meta.json"),
            host=parse_ftrace(maker.files()["host.txt"].splitlines(), Source.HOST),
            in_guest=False,
        )
    )
    assert scene.tid == 900
    assert scene.bound_ns == 500
    one = explain(scene, START, 805 * US)
    assert one.main.cause == "run-queue"
    assert one.of("run-queue") == 797 * US
    assert one.main.details[0][0] == "by hog (4711), real-time 50"


def test_what_the_guest_did_not_record_is_not_blamed_on_it() -> None:
    maker = TraceMaker()
    maker.wakeup()
    maker.wakeup(irq=make.guest_irqs_off(2 * MS))
    maker.wakeup(host=make.stands_still(2 * MS))
    maker.wakeup()

    def overwritten(name: str, lines: list[str]) -> list[str]:
        return lines if name != "guest.txt" else lines[-6:]

    scene = scene_of(maker, edit=overwritten)
    rules, _ = visible(scene.names, host=True)
    for window in windows_of(maker)[1:3]:
        one = attribute(scene, window, rules)
        assert [share.cause for share in one.shares] == [UNEXPLAINED]
        assert one.main.details[0][0] == "in the guest"


def test_our_own_look_is_blamed_only_if_it_held_the_guest_up() -> None:
    maker = TraceMaker()
    maker.wakeup()
    planned, _ = maker.wakeup(host=make.both(make.emulated(500 * US), make.kicked(200 * US)))
    whole = {"host_ns": planned, "end_ns": planned + MS, "what": "look at the shared memory"}
    maker.own_actions.append(whole)
    scene = scene_of(maker)
    rules, _ = visible(scene.names, host=True)
    one = attribute(scene, windows_of(maker)[1], rules)
    assert one.of("own-action") == 200 * US
    assert one.of("device-emulation") == 500 * US


def test_the_head_of_a_trace() -> None:
    text = json.dumps(
        {
            "format": 1,
            "rung": 2,
            "threads": {"5": {"role": "vcpu 1", "name": "CPU 1/KVM"}},
            "host_events": ["sched:sched_switch", "kvm/kvm_exit"],
            "kept": [{"from_ns": 10, "to_ns": 20, "why": "x"}, {"from_ns": 15, "to_ns": 30}],
            "guest_tasks": {"77": "load udp"},
            "own_actions": [{"host_ns": 9, "end_ns": 5, "what": "y"}],
            "something_new": 1,
        }
    )
    meta = parse_meta(text, "meta.json")
    assert meta.recorded == {"host:sched_switch", "host:kvm_exit"}
    assert meta.kept == ((10, 30),)
    assert meta.vcpus == {1: 5}
    assert meta.guest_tasks[77] == "load udp"
    assert (meta.own_actions[0].start, meta.own_actions[0].end) == (9, 10)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": 1}', '{"format": 1, "rung": "x"}', '{"format": 2}']
)
def test_a_broken_head_is_one_error_with_a_hint(text: str) -> None:
    with pytest.raises(DataError, match=r"trace/meta\.json") as caught:
        parse_meta(text, "trace/meta.json")
    assert caught.value.hint


def test_the_page_names_every_cause() -> None:
    page = (Path(__file__).parents[2] / "docs/method/attribution.md").read_text()
    assert [rule.cause for rule in RULES if f"`{rule.cause}`" not in page] == []


def test_under_tcg_a_timer_of_qemu_may_come_late_because_its_thread_does() -> None:
    """The main loop has to wake the virtual CPU, and does not get a CPU itself."""
    maker = TraceMaker()
    vcpu, main = f"CPU 0/TCG-{VCPU}-120", f"qemu-{make.MAIN}-120"
    maker.switch(START - MS, vcpu, "S", "swapper/1-0-120")
    maker.switch(START - MS, main, "S", make.HOG_TASK, cpu=0)
    waking = f"comm=qemu pid={make.MAIN} prio=120 target_cpu=000"
    maker.host(START + 100 * US, "sched_waking", waking, task="hog-4711", cpu=0)
    maker.switch(START + 900 * US, make.HOG_TASK, "S", main, cpu=0)
    waking = f"comm=CPU 0/TCG pid={VCPU} prio=120 target_cpu=001"
    maker.host(START + 950 * US, "sched_waking", waking, task=f"qemu-{make.MAIN}", cpu=0)
    maker.switch(START + 953 * US, "swapper/1-0-120", "R", vcpu)
    maker.switch(START + 2 * MS, vcpu, "S", "swapper/1-0-120")
    one = explain(scene_of(maker), START, 1200 * US)
    assert one.of("starved") == 800 * US
    assert one.of("timer-late") == 150 * US
    details = {share.cause: share.details[0][0] for share in one.shares}
    assert details["starved"] == (
        "main loop (qemu-system-x86, 100) had to wake it; its CPU ran hog (4711)"
    )
    assert details["timer-late"] == "woken by main loop (qemu-system-x86, 100)"
    assert ("running", 247 * US) in one.shares[-1].details


@pytest.mark.parametrize(
    ("state", "cause", "ns"), [(None, "lock-wait", 2), ("D", "disk", 2), ("R", "starved", 2)]
)
def test_the_scheduler_shows_waits_in_qemu_where_qemu_was_not_asked(
    state: str | None, cause: str, ns: int
) -> None:
    maker = TraceMaker()
    maker.wakeup()
    maker.wakeup(host=make.lock_wait(ns * MS, {"state": state} if state else None))

    def no_log(name: str, lines: list[str]) -> list[str]:
        return [] if name == "qemu.log" else lines

    scene = scene_of(maker, edit=no_log, qemu_events=[])
    rules, _ = visible(scene.names, host=True)
    one = attribute(scene, windows_of(maker)[1], rules)
    assert one.main.cause == cause
    assert ns * MS - 10 * US < one.main.ns <= ns * MS
    if cause == "lock-wait":
        assert one.main.details[0][0] == (
            "slept in QEMU until main loop (qemu-system-x86, 100) woke it; "
            "the lock was not recorded"
        )
